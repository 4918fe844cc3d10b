# The same file that relay, worker and `outbox check` read, so there is no generated one to forget.
module "router" {
  source = "./router"

  text = file(var.router_file)
  file = basename(var.router_file)
}

locals {
  routes = module.router.routes
  rpcs   = module.router.rpcs
}
