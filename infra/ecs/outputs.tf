output "service_names" {
  description = "The ECS services, by part."
  value       = { for part, service in aws_ecs_service.part : part => service.name }
}

output "task_role_arns" {
  description = "The roles of relay and worker, for policies of yours."
  value       = { for part, role in aws_iam_role.task : part => role.arn }
}

output "log_group" {
  description = "The log group of all tasks."
  value       = aws_cloudwatch_log_group.this.name
}

output "migrate" {
  description = "The command that makes or upgrades the schema. Null without database_secret_arns.migrate."
  value = length(aws_ecs_task_definition.migrate) == 0 ? null : join(" ", [
    "aws ecs run-task --launch-type FARGATE --cluster ${var.cluster_arn} --task-definition ${aws_ecs_task_definition.migrate[0].family}",
    "--network-configuration 'awsvpcConfiguration={subnets=[${join(",", var.subnets)}],securityGroups=[${join(",", var.security_groups)}],assignPublicIp=${var.assign_public_ip ? "ENABLED" : "DISABLED"}}'",
  ])
}
