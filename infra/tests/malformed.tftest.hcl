# Guards: a file of another form than the binaries read is refused, and every mistake in it is reported at once.

run "refuses_malformed_ids" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - name: 'event_a'
          subscriber: [{ id: 'NoSlash' }, { id: 'S/M/N' }, { id: 'a-b.S/M' }, { id: '.S/M' }, { id: 'S/1' }, { id: 7 }, {}]
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "'NoSlash' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "'S/M/N' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "'a-b.S/M' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "'.S/M' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "'S/1' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "'7' of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
      "entry 7 of `subscriber` of event 'event_a' does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_malformed_names" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'HogeUpdated', subscriber: [] }
        - { name: 'hoge-updated', subscriber: [] }
        - { name: true, subscriber: [] }
        - { subscriber: [] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "event 'HogeUpdated' is not lower_snake_case: write it like 'event_hoge_updated'",
      "event 'hoge-updated' is not lower_snake_case: write it like 'event_hoge_updated'",
      "event 'true' has no `name` that is a text: add name: 'event_hoge_updated'",
      "entry 4 of `event` has no `name` that is a text: add name: 'event_hoge_updated'",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_unknown_keys" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      events: []
      event:
        - { name: 'event_a', subscribers: [], subscriber: [{ id: 'S/M', attempts: 3, backoff: { maximum: 1m } }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "unknown key `events` in the file: known here is `event`",
      "unknown key `subscribers` in event 'event_a': known here are `name`, `package` and `subscriber`",
      "unknown key `attempts` of 'S/M' in event 'event_a': known here are `id`, `queue`, `timeout`, `concurrency`, `rate_per_second`, `max_attempts` and `backoff`",
      "unknown key `maximum` in `backoff` of 'S/M' in event 'event_a': known here are `min` and `max`",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_wrong_kinds" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - 7
        - { name: 'event_a', subscriber: 'S/M' }
        - { name: 'event_b', subscriber: ['S/M', { id: 'S/N', backoff: 1s }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "entry 1 of `event` is not a map: write name: 'event_hoge_updated' and subscriber: []",
      "event 'event_a' has no list `subscriber`: list the RPCs that run, or write subscriber: [] for none yet",
      "entry 1 of `subscriber` of event 'event_b' is not a map: write id: 'NotificationService/NotifyHogeUpdated'",
      "`backoff` of 'S/N' in event 'event_b' is not a map: write backoff: { min: 1s, max: 10m }",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_no_list" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event: { name: 'event_a' }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "`event` is not a list: begin each entry with a dash: - name: 'event_hoge_updated'",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_no_map" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      - event
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "the file is not a map: begin with `event:` and a list of events below it",
    ])
    error_message = jsonencode(output.findings)
  }
}

run "refuses_max_attempts_out_of_range" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'S/M', max_attempts: 0 }, { id: 'S/N', max_attempts: 101 }, { id: 'S/O', max_attempts: '5' }, { id: 'S/P', max_attempts: 1.5 }] }
    EOT
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition = output.findings == tolist([
      "`max_attempts` of 'S/M' in event 'event_a' is not a whole number from 1 to 100: for example max_attempts: 20",
      "`max_attempts` of 'S/N' in event 'event_a' is not a whole number from 1 to 100: for example max_attempts: 20",
      "`max_attempts` of 'S/O' in event 'event_a' is not a whole number from 1 to 100: for example max_attempts: 20",
      "`max_attempts` of 'S/P' in event 'event_a' is not a whole number from 1 to 100: for example max_attempts: 20",
    ])
    error_message = jsonencode(output.findings)
  }
}
