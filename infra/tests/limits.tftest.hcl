# Guards: a bus has 300 rules, and the file that needs one more is refused. A file that just fits is not refused.

run "accepts_300_rules" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = yamlencode({ event = [for i in range(30) : {
      name = "event_${i}", subscriber = [for j in range(10) : { id = "S/M${j}" }]
    }] })
  }

  assert {
    condition     = length(output.routes) == 300 && length(output.rpcs) == 10
    error_message = "${length(output.routes)} routes, ${length(output.rpcs)} RPCs"
  }
}

run "refuses_301_rules" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = yamlencode({ event = concat(
      [for i in range(30) : { name = "event_${i}", subscriber = [for j in range(10) : { id = "S/M${j}" }] }],
      [{ name = "event_one_more", subscriber = [{ id = "S/M0" }] }],
    ) })
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition     = output.findings == tolist(["301 subscriptions need as many rules, and one bus has at most 300: divide the file into several buses"])
    error_message = jsonencode(output.findings)
  }
}

run "accepts_an_event_name_of_128_characters" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = yamlencode({ event = [{ name = "event_${join("", [for i in range(122) : "x"])}", subscriber = [{ id = "_S1/_M" }] }] })
  }

  assert {
    condition     = length(output.routes) == 1
    error_message = "It should have been routed."
  }
}

run "refuses_an_event_name_of_129_characters" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = yamlencode({ event = [{ name = "event_${join("", [for i in range(123) : "x"])}", subscriber = [] }] })
  }

  expect_failures = [output.routes, output.rpcs]

  assert {
    condition     = length(output.findings) == 1 && strcontains(output.findings[0], "has 129 characters: shorten it")
    error_message = jsonencode(output.findings)
  }
}

run "compares_durations_not_spellings" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - { name: 'event_a', subscriber: [{ id: 'S/M', timeout: 60s, backoff: { min: 1000ms } }, { id: 'S/N', backoff: { min: 20m } }] }
        - { name: 'event_b', subscriber: [{ id: 'S/M', timeout: 1m, concurrency: 16, max_attempts: 20, backoff: { max: 10m } }, { id: 'S/N', backoff: { min: 1h, max: 1h } }] }
    EOT
  }

  # S/M is the same in both, and is not reported. S/N differs: 20 min is not 1 h.
  expect_failures = [output.routes, output.rpcs]

  assert {
    condition     = length(output.findings) == 1 && startswith(output.findings[0], "'S/N' has different")
    error_message = jsonencode(output.findings)
  }
}

run "accepts_a_router_without_routes" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = "event: []\n"
  }

  assert {
    condition     = length(output.routes) == 0 && length(output.rpcs) == 0
    error_message = "There should have been none."
  }
}
