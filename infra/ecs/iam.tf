# Two roles for each part: the task's own, and the one with which ECS starts it. So no part can read the secrets of another.

locals {
  assume = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })

  # aws, or that of another partition.
  partition = split(":", aws_cloudwatch_log_group.this.arn)[1]

  executed = toset(concat(["relay", "worker"], contains(keys(var.database_secret_arns), "migrate") ? ["migrate"] : []))

  # Which part has secrets must be known before the secrets are, so only names decide.
  secret_readers = {
    for part in local.executed : part => concat(local.database[part][*].valueFrom, part == "worker" ? values(var.file_secret_arns) : [])
    if contains(keys(var.database_secret_arns), part) || (part == "worker" && length(var.file_secret_arns) > 0)
  }
}

resource "aws_iam_role" "task" {
  for_each = local.ports

  name               = "${var.name}-${each.key}-task"
  assume_role_policy = local.assume
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "task" {
  for_each = { for part in keys(local.ports) : part => var.policy_arns[part] if contains(keys(var.policy_arns), part) }

  role       = aws_iam_role.task[each.key].name
  policy_arn = each.value
}

resource "aws_iam_role" "execution" {
  for_each = local.executed

  name               = "${var.name}-${each.key}-execution"
  assume_role_policy = local.assume
  tags               = var.tags
}

# Pulls the image and writes the logs.
resource "aws_iam_role_policy_attachment" "execution" {
  for_each = local.executed

  role       = aws_iam_role.execution[each.key].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  for_each = local.secret_readers

  name = "secrets"
  role = aws_iam_role.execution[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue", "ssm:GetParameters"]
        Resource = each.value
      }],
      length(var.secret_kms_key_arns) == 0 ? [] : [{
        Sid      = "KeysOfSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = var.secret_kms_key_arns
      }],
    )
  })
}
