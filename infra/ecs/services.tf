# The services keep the tasks running, and replace them one after another.

resource "aws_ecs_service" "part" {
  for_each = local.ports

  name            = "${var.name}-${each.key}"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.part[each.key].arn
  desired_count   = each.key == "relay" ? var.replicas.relay : var.replicas.worker
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"
  tags            = var.tags

  # The new tasks are there before the old ones stop.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  # A version that does not start is taken back.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnets
    security_groups  = var.security_groups
    assign_public_ip = var.assign_public_ip
  }

  depends_on = [aws_iam_role_policy.secrets, aws_iam_role_policy_attachment.execution, aws_iam_role_policy_attachment.task]
}
