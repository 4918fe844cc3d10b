variable "name" {
  description = "The name of every resource, or its beginning."
  type        = string
  default     = "outbox"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "Use at most 40 lower-case letters, digits and dashes, beginning with a letter and not ending in a dash."
  }
}

variable "image" {
  description = "The image of ops/container/Dockerfile, with a tag or a digest."
  type        = string

  validation {
    condition     = can(regex("[:@]", var.image)) && !endswith(var.image, ":latest")
    error_message = "Name a version: registry/outbox:TAG or registry/outbox@sha256:…. With another image below the same name, tasks of two versions would run side by side."
  }
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/.+$", var.cluster_arn))
    error_message = "Use the cluster's ARN, arn:aws:ecs:…:cluster/…."
  }
}

variable "subnets" {
  description = "Subnets from which the database, the services and AWS can be reached."
  type        = list(string)

  validation {
    condition     = length(var.subnets) > 0
    error_message = "Name at least one subnet; better two, in different zones."
  }
}

variable "security_groups" {
  description = "Security groups of the tasks. What scrapes metrics needs access to the ports 9464 (relay) and 9465 (worker)."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "Whether tasks have a public address. Without one, private subnets need a way to AWS."
  type        = bool
  default     = false
}

variable "router_file" {
  description = "Path of event_router.yaml."
  type        = string

  validation {
    condition     = fileexists(var.router_file)
    error_message = "There is no such file: set router_file to the path of event_router.yaml."
  }
}

variable "services_file" {
  description = "Path of services.yaml, which says where services are."
  type        = string

  validation {
    condition     = fileexists(var.services_file)
    error_message = "There is no such file: set services_file to the path of services.yaml."
  }
}

variable "proto_file" {
  description = "Path of a descriptor set (buf build --output proto.binpb), for names without a package and for services that are not sent JSON. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.proto_file == null || can(filebase64(var.proto_file))
    error_message = "There is no such file: make it with `buf build --output proto.binpb`, or leave proto_file out."
  }
}

variable "environment" {
  description = "Environment variables by part: the output `environment` of the module in infra/. Without it events stay in the database's own queues."
  type = object({
    relay  = map(string)
    worker = map(string)
  })
  default = {
    relay  = {}
    worker = {}
  }
}

variable "policy_arns" {
  description = "The IAM policies of relay and worker: the output `policy_arns` of the module in infra/."
  type        = map(string)
  default     = {}
}

variable "database_secret_arns" {
  description = "Secrets with the address of the database (postgres://…), by part: relay, worker, migrate. With the output of infra/ the worker needs none."
  type        = map(string)

  validation {
    condition     = alltrue([for part in keys(var.database_secret_arns) : contains(["relay", "worker", "migrate"], part)]) && contains(keys(var.database_secret_arns), "relay")
    error_message = "Name the secret of relay, and perhaps those of worker and migrate: { relay = \"arn:…\" }."
  }
}

variable "file_secret_arns" {
  description = "Secrets that become files in /run/outbox/secrets of the worker, by the file's name: the tokens, keys and signing secrets that services.yaml names."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.file_secret_arns) : can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]*$", name))])
    error_message = "A file's name has letters, digits, dots, dashes and underscores."
  }
}

variable "secret_kms_key_arns" {
  description = "KMS keys of yours that encrypt those secrets."
  type        = list(string)
  default     = []
}

variable "replicas" {
  description = "How many tasks of each part run. Of the relays one leads, and the others stand by."
  type = object({
    relay  = number
    worker = number
  })
  default = {
    relay  = 2
    worker = 2
  }

  validation {
    condition     = var.replicas.relay >= 1 && var.replicas.worker >= 1
    error_message = "Each part needs at least one task, and two to go on while one is replaced."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 are one processor."
  type        = number
  default     = 256
}

variable "memory" {
  description = "Memory of a task, in MiB. Fargate takes certain pairs of cpu and memory."
  type        = number
  default     = 512
}

variable "architecture" {
  description = "The processor that the image is built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "Use X86_64 or ARM64."
  }
}

variable "stop_within_seconds" {
  description = "How long a worker that stops waits for its calls (worker --stop-within). ECS waits 5 s longer, and at most 120 s on Fargate."
  type        = number
  default     = 25

  validation {
    condition     = var.stop_within_seconds == floor(var.stop_within_seconds) && var.stop_within_seconds >= 1 && var.stop_within_seconds <= 115
    error_message = "Use whole seconds from 1 to 115."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the logs."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of everything that can have tags."
  type        = map(string)
  default     = {}
}
