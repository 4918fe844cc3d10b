# Guards: Terraform names rules and queues as the binaries do. crates/event-router is checked with the same file.

run "names_are_those_of_the_golden_file" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = file("./tests/names.yaml")
  }

  assert {
    condition = length(output.routes) == length(jsondecode(file("./tests/names.json"))) && alltrue([
      for row in jsondecode(file("./tests/names.json")) :
      try(output.routes["${row.event} -> ${row.rpc}"].rule == row.rule, false)
    ])
    error_message = "A rule is not called what tests/names.json says: ${jsonencode(output.routes)}"
  }

  assert {
    condition = alltrue([
      for row in jsondecode(file("./tests/names.json")) :
      try(output.rpcs[row.rpc].queue == row.queue && output.routes["${row.event} -> ${row.rpc}"].queue == row.queue, false)
    ])
    error_message = "A queue is not called what tests/names.json says: ${jsonencode(output.rpcs)}"
  }
}

run "names_fit_aws" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = file("./tests/names.yaml")
  }

  assert {
    condition     = alltrue([for route in output.routes : can(regex("^[A-Za-z0-9._-]{1,64}$", route.rule))])
    error_message = "EventBridge would refuse the name of a rule."
  }

  assert {
    condition     = alltrue([for rpc in output.rpcs : can(regex("^[A-Za-z0-9_-]{1,64}$", rpc.queue))])
    error_message = "SQS would refuse the name of a queue."
  }
}

# A long `name` leaves less room for the queue's own.
run "names_with_a_name_of_11" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text            = file("./tests/names.yaml")
    queue_chars_max = min(64, 75 - 11)
  }

  assert {
    condition = alltrue([
      for row in jsondecode(file("./tests/long_names.json")) :
      try("${row.name}-${output.rpcs[row.rpc].queue}" == row.queue, false) if length(row.name) == 11
    ])
    error_message = "A queue is not called what tests/long_names.json says: ${jsonencode(output.rpcs)}"
  }
}

run "names_with_a_name_of_20" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text            = file("./tests/names.yaml")
    queue_chars_max = min(64, 75 - 20)
  }

  assert {
    condition = alltrue([
      for row in jsondecode(file("./tests/long_names.json")) :
      try("${row.name}-${output.rpcs[row.rpc].queue}" == row.queue, false) if length(row.name) == 20
    ])
    error_message = "A queue is not called what tests/long_names.json says: ${jsonencode(output.rpcs)}"
  }
}

run "names_with_a_name_of_40" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text            = file("./tests/names.yaml")
    queue_chars_max = min(64, 75 - 40)
  }

  assert {
    condition = alltrue([
      for row in jsondecode(file("./tests/long_names.json")) :
      try("${row.name}-${output.rpcs[row.rpc].queue}" == row.queue, false) if length(row.name) == 40
    ])
    error_message = "A queue is not called what tests/long_names.json says: ${jsonencode(output.rpcs)}"
  }
}

# An RPC that moved to another package keeps its queue, and the name that its messages carry.
run "names_of_a_moved_rpc" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = <<-EOT
      event:
        - name: 'event_a'
          package: 'acme.card.v1'
          subscriber:
            - { id: 'acme.notify.v2.NotifyService/Notify', queue: 'NotifyService/Notify' }
            - { id: 'AuditService/Record' }
    EOT
  }

  assert {
    condition = (
      length(output.findings) == 0 &&
      toset(keys(output.rpcs)) == toset(["AuditService/Record", "NotifyService/Notify"]) &&
      output.rpcs["NotifyService/Notify"].queue == "NotifyService--Notify" &&
      output.routes["event_a -> NotifyService/Notify"].rpc == "NotifyService/Notify" &&
      output.routes["event_a -> NotifyService/Notify"].rule == "event_a--NotifyService--Notify"
    )
    error_message = "A moved RPC has another queue: ${jsonencode(output.rpcs)} ${jsonencode(output.findings)}"
  }
}
