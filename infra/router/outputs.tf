# A precondition on an output stops everything that uses the output. So a bad file gets one message and not half of a plan.

output "routes" {
  description = "Every event and RPC that belong together, by '<event> -> <rpc>'."
  value       = local.routes

  precondition {
    condition     = length(local.findings) == 0
    error_message = <<-EOT
      ${var.file} can't be routed:
      ${join("\n", [for finding in local.findings : "  - ${finding}"])}
      `outbox check` shows the lines, and finds more.
    EOT
  }
}

output "rpcs" {
  description = "Every RPC once, by the name of its queue: the queue on AWS, max_attempts and the keys of its routes."
  value       = local.rpcs

  # As above, for resources that use only this output.
  precondition {
    condition     = length(local.findings) == 0
    error_message = "${var.file} can't be routed, for the reasons given for \"routes\"."
  }
}

output "kept" {
  description = "The queue of each kept RPC, named as the queues of the file's RPCs."
  value       = { for rpc in var.kept : rpc => { queue = local.queue_names[rpc], max_attempts = 20, routes = [] } }

  precondition {
    condition     = length(setintersection(var.kept, keys(local.rpcs))) == 0
    error_message = "${var.file} subscribes ${join(", ", setintersection(var.kept, keys(local.rpcs)))}: take it out of `kept`, which is for RPCs that no event runs any more."
  }
}

output "findings" {
  description = "The mistakes in the file; empty without one."
  value       = local.findings
}
