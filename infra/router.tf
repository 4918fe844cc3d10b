# Relay, worker and `outbox check` read the same file. So no generated file can be out of date.
module "router" {
  source = "./router"

  text = file(var.router_file)
  file = basename(var.router_file)

  # SQS takes 80 characters: the name, a dash, a queue's own name and `-dlq`.
  queue_chars_max = min(64, 75 - length(var.name))
  kept            = var.kept
}

locals {
  routes = module.router.routes
  rpcs   = module.router.rpcs
  # The RPCs that have a queue.
  queues = merge(module.router.rpcs, module.router.kept)
}
