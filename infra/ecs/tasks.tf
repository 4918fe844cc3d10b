# The tasks. Relay and worker read files, and a task on Fargate has none but those of its image. So a first container writes them
# into a volume of the task, and ends before the second one starts.

locals {
  ports = {
    relay  = 9464
    worker = 9465
  }

  # A relay ends within 10 s of SIGTERM. A worker waits for its calls, and for 5 s more.
  stop_timeouts = {
    relay  = 15
    worker = var.stop_within_seconds + 5
  }

  # gzip makes room: a task definition has 64 KiB, and event_router.yaml may have 192.
  contents = {
    relay = {
      ROUTER = base64gzip(file(var.router_file))
    }
    worker = merge(
      { ROUTER = base64gzip(file(var.router_file)) },
      { SERVICES = base64gzip(file(var.services_file)) },
      var.proto_file == null ? {} : { PROTO = filebase64(var.proto_file) },
    )
  }

  write = {
    ROUTER   = "printf %s \"$ROUTER\" | base64 --decode | gzip --decompress > /run/outbox/event_router.yaml"
    SERVICES = "printf %s \"$SERVICES\" | base64 --decode | gzip --decompress > /run/outbox/services.yaml"
    PROTO    = "printf %s \"$PROTO\" | base64 --decode > /run/outbox/proto.binpb"
  }

  secret_names = sort(keys(var.file_secret_arns))
  secrets = {
    relay  = []
    worker = [for n, name in local.secret_names : { name = "SECRET_${n}", valueFrom = var.file_secret_arns[name] }]
  }
  write_secrets = {
    relay = []
    worker = concat(
      length(local.secret_names) == 0 ? [] : ["mkdir /run/outbox/secrets"],
      [for n, name in local.secret_names : "printf '%s\\n' \"$SECRET_${n}\" > /run/outbox/secrets/${name}"],
    )
  }

  settings = {
    relay = merge({
      OUTBOX_METRICS_ADDR = "0.0.0.0:9464"
      OUTBOX_LOG_FORMAT   = "json"
      OUTBOX_ROUTER       = "/run/outbox/event_router.yaml"
    }, var.environment.relay)

    worker = merge({
      OUTBOX_METRICS_ADDR = "0.0.0.0:9465"
      OUTBOX_LOG_FORMAT   = "json"
      OUTBOX_ROUTER       = "/run/outbox/event_router.yaml"
      OUTBOX_SERVICES     = "/run/outbox/services.yaml"
      OUTBOX_STOP_WITHIN  = "${var.stop_within_seconds}s"
    }, var.proto_file == null ? {} : { OUTBOX_PROTO = "/run/outbox/proto.binpb" }, var.environment.worker)
  }

  database = {
    for part in ["relay", "worker", "migrate"] : part => [for key, arn in var.database_secret_arns : { name = "DATABASE_URL", valueFrom = arn } if key == part]
  }

  # The region is that of the log group.
  region = split(":", aws_cloudwatch_log_group.this.arn)[3]
  logs = {
    for container in ["files", "relay", "worker", "migrate"] : container => {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this.name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = container
      }
    }
  }

  no_capabilities = { capabilities = { drop = ["ALL"] } }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/outbox/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_ecs_task_definition" "part" {
  for_each = local.ports

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.task[each.key].arn
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "files"
  }

  container_definitions = jsonencode([
    {
      name      = "files"
      image     = var.image
      essential = false
      # The volume belongs to root, and every user may read it.
      user                   = "0:0"
      command                = ["bash", "-ec", join("\n", concat([for name in sort(keys(local.contents[each.key])) : local.write[name]], local.write_secrets[each.key]))]
      environment            = [for name in sort(keys(local.contents[each.key])) : { name = name, value = local.contents[each.key][name] }]
      secrets                = local.secrets[each.key]
      mountPoints            = [{ sourceVolume = "files", containerPath = "/run/outbox", readOnly = false }]
      readonlyRootFilesystem = true
      linuxParameters        = local.no_capabilities
      logConfiguration       = local.logs["files"]
    },
    {
      name                   = each.key
      image                  = var.image
      essential              = true
      dependsOn              = [{ containerName = "files", condition = "SUCCESS" }]
      user                   = "65532:65532"
      command                = [each.key]
      environment            = [for name in sort(keys(local.settings[each.key])) : { name = name, value = local.settings[each.key][name] }]
      secrets                = local.database[each.key]
      mountPoints            = [{ sourceVolume = "files", containerPath = "/run/outbox", readOnly = true }]
      portMappings           = [{ containerPort = each.value, protocol = "tcp" }]
      readonlyRootFilesystem = true
      linuxParameters        = local.no_capabilities
      stopTimeout            = local.stop_timeouts[each.key]
      logConfiguration       = local.logs[each.key]

      # Alive, and not ready: ECS ends an unhealthy task, and a process without progress waits by itself. The image has no HTTP
      # client, but bash has sockets.
      healthCheck = {
        command  = ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${each.value}; printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; read -r _ code _ <&3; [ \"$code\" = 200 ]"]
        interval = 10
        timeout  = 5
        retries  = 6
      }
    },
  ])

  lifecycle {
    precondition {
      condition     = sum([for text in values(local.contents[each.key]) : length(text)]) <= 50000
      error_message = "The files do not fit into a task definition, which has 64 KiB: build an image that has them, FROM that of outbox, and set OUTBOX_ROUTER, OUTBOX_SERVICES and OUTBOX_PROTO in `environment`."
    }

    precondition {
      condition     = each.key == "relay" || lookup(var.environment.worker, "OUTBOX_TRANSPORT", "postgres") == "aws" || contains(keys(var.database_secret_arns), "worker")
      error_message = "Without the output `environment` of infra/ the worker needs the database: add database_secret_arns.worker."
    }
  }
}

# Run by hand, or by a pipeline, before each new version.
resource "aws_ecs_task_definition" "migrate" {
  count = contains(keys(var.database_secret_arns), "migrate") ? 1 : 0

  family                   = "${var.name}-migrate"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution["migrate"].arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([
    {
      name                   = "migrate"
      image                  = var.image
      essential              = true
      user                   = "65532:65532"
      command                = ["relay", "migrate"]
      secrets                = local.database["migrate"]
      readonlyRootFilesystem = true
      linuxParameters        = local.no_capabilities
      logConfiguration       = local.logs["migrate"]
    },
  ])

  # So that -target makes all that it needs.
  depends_on = [aws_iam_role_policy.secrets, aws_iam_role_policy_attachment.execution]
}
