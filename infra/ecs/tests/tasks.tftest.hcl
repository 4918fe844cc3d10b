# Guards: tasks of relay and worker as the binaries need them, with few rights, and time to stop.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image                = "registry.example.com/outbox:0.1.0"
  cluster_arn          = "arn:aws:ecs:eu-central-1:123456789012:cluster/main"
  subnets              = ["subnet-1", "subnet-2"]
  security_groups      = ["sg-1"]
  router_file          = "./tests/router.yaml"
  services_file        = "./tests/services.yaml"
  database_secret_arns = { relay = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:relay", worker = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:worker" }
}

run "on_postgres" {
  assert {
    condition = { for part, task in aws_ecs_task_definition.part : part => { for variable in jsondecode(task.container_definitions)[1].environment : variable.name => variable.value } } == {
      relay = {
        OUTBOX_METRICS_ADDR = "0.0.0.0:9464"
        OUTBOX_LOG_FORMAT   = "json"
        OUTBOX_ROUTER       = "/run/outbox/event_router.yaml"
      }
      worker = {
        OUTBOX_METRICS_ADDR = "0.0.0.0:9465"
        OUTBOX_LOG_FORMAT   = "json"
        OUTBOX_ROUTER       = "/run/outbox/event_router.yaml"
        OUTBOX_SERVICES     = "/run/outbox/services.yaml"
        OUTBOX_STOP_WITHIN  = "25s"
      }
    }
    error_message = aws_ecs_task_definition.part["worker"].container_definitions
  }

  assert {
    condition = alltrue([
      for part, task in aws_ecs_task_definition.part :
      jsondecode(task.container_definitions)[1].command == [part] &&
      jsondecode(task.container_definitions)[1].secrets == [{ name = "DATABASE_URL", valueFrom = var.database_secret_arns[part] }] &&
      jsondecode(task.container_definitions)[1].user == "65532:65532" &&
      alltrue([for container in jsondecode(task.container_definitions) : container.readonlyRootFilesystem && container.linuxParameters.capabilities.drop == ["ALL"]])
    ])
    error_message = "Each part should run its program with its own secret, not as root, and without capabilities."
  }

  assert {
    condition     = [for part in ["relay", "worker"] : jsondecode(aws_ecs_task_definition.part[part].container_definitions)[1].stopTimeout] == [15, 30]
    error_message = "A task should have the time to finish its work."
  }

  assert {
    condition = alltrue([
      for part, port in { relay = 9464, worker = 9465 } :
      strcontains(jsondecode(aws_ecs_task_definition.part[part].container_definitions)[1].healthCheck.command[3], "/dev/tcp/127.0.0.1/${port}") &&
      strcontains(jsondecode(aws_ecs_task_definition.part[part].container_definitions)[1].healthCheck.command[3], "/healthz")
    ])
    error_message = "ECS should ask whether the process is alive, and not whether it makes progress."
  }

  assert {
    condition = { for variable in jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[0].environment : variable.name => variable.value } == {
      ROUTER   = base64gzip(file("./tests/router.yaml"))
      SERVICES = base64gzip(file("./tests/services.yaml"))
    }
    error_message = "The worker should get both files."
  }

  assert {
    condition     = length(aws_iam_role_policy_attachment.task) == 0 && length(aws_ecs_task_definition.migrate) == 0 && output.migrate == null
    error_message = "Without infra/ no policies are attached, and without its secret there is no migration."
  }

  assert {
    condition = alltrue([
      for part, policy in aws_iam_role_policy.secrets :
      jsondecode(policy.policy).Statement == [{ Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue", "ssm:GetParameters"], Resource = [var.database_secret_arns[part]] }]
    ])
    error_message = "A part should read its own secret alone."
  }

  assert {
    condition     = alltrue([for service in aws_ecs_service.part : service.desired_count == 2 && service.deployment_minimum_healthy_percent == 100 && service.deployment_circuit_breaker[0].rollback])
    error_message = "Two tasks of each part should run, also during a deployment."
  }
}

run "with_infra" {
  variables {
    environment = {
      relay  = { OUTBOX_TRANSPORT = "aws", OUTBOX_BUS = "outbox" }
      worker = { OUTBOX_TRANSPORT = "aws", OUTBOX_QUEUE_PREFIX = "outbox-", OUTBOX_DEDUP_TABLE = "outbox-dedup" }
    }
    policy_arns = {
      relay  = "arn:aws:iam::123456789012:policy/outbox-relay"
      worker = "arn:aws:iam::123456789012:policy/outbox-worker"
      ops    = "arn:aws:iam::123456789012:policy/outbox-ops"
    }
    database_secret_arns = { relay = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:relay", migrate = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner" }
    file_secret_arns     = { "ledger-token" = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ledger" }
    secret_kms_key_arns  = ["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
    stop_within_seconds  = 115
  }

  assert {
    condition     = { for part, attachment in aws_iam_role_policy_attachment.task : part => attachment.policy_arn } == { relay = var.policy_arns.relay, worker = var.policy_arns.worker }
    error_message = "Relay and worker should have their policies, and none has that of operators."
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[1].stopTimeout == 120 &&
      contains(jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[1].environment, { name = "OUTBOX_STOP_WITHIN", value = "115s" }) &&
      contains(jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[1].environment, { name = "OUTBOX_QUEUE_PREFIX", value = "outbox-" }) &&
      contains(jsondecode(aws_ecs_task_definition.part["relay"].container_definitions)[1].environment, { name = "OUTBOX_BUS", value = "outbox" })
    )
    error_message = aws_ecs_task_definition.part["worker"].container_definitions
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[0].secrets == [{ name = "SECRET_0", valueFrom = var.file_secret_arns["ledger-token"] }] &&
      endswith(jsondecode(aws_ecs_task_definition.part["worker"].container_definitions)[0].command[2], "mkdir /run/outbox/secrets\nprintf '%s\\n' \"$SECRET_0\" > /run/outbox/secrets/ledger-token")
    )
    error_message = aws_ecs_task_definition.part["worker"].container_definitions
  }

  assert {
    condition = (
      join(",", sort(keys(aws_iam_role_policy.secrets))) == "migrate,relay,worker" &&
      jsondecode(aws_iam_role_policy.secrets["worker"].policy).Statement[0].Resource == [var.file_secret_arns["ledger-token"]] &&
      jsondecode(aws_iam_role_policy.secrets["migrate"].policy).Statement[1].Resource == [var.secret_kms_key_arns[0]]
    )
    error_message = "The worker should read its files' secrets, and no database's."
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.migrate[0].container_definitions)[0].command == ["relay", "migrate"] &&
      strcontains(output.migrate, "--task-definition outbox-migrate") && strcontains(output.migrate, "subnets=[subnet-1,subnet-2]")
    )
    error_message = "There should be a task that migrates."
  }
}

run "a_worker_without_a_database" {
  command = plan

  variables {
    database_secret_arns = { relay = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:relay" }
  }

  expect_failures = [aws_ecs_task_definition.part]
}

run "bad_values" {
  command = plan

  variables {
    name                 = "Outbox"
    image                = "outbox:latest"
    cluster_arn          = "main"
    subnets              = []
    database_secret_arns = { worker = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:worker" }
    file_secret_arns     = { "../x" = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x" }
    replicas             = { relay = 0, worker = 1 }
    architecture         = "arm"
    stop_within_seconds  = 116
  }

  expect_failures = [
    var.name,
    var.image,
    var.cluster_arn,
    var.subnets,
    var.database_secret_arns,
    var.file_secret_arns,
    var.replicas,
    var.architecture,
    var.stop_within_seconds,
  ]
}
