# What a role needs to be the relay, the worker, or somebody who redrives. Attach them to roles of yours. As jsonencode, not
# as data sources, so that tests can read them.

locals {
  # IAM takes policies of 6144 characters, in which the queues of 20 RPCs fit whatever they are called. Beyond that: every
  # queue with this installation's prefix.
  rpcs_named_max = 20
  all_named      = length(local.rpcs) <= local.rpcs_named_max
  any_queue_arn  = replace(aws_sqs_queue.undeliverable.arn, "/undeliverable$/", "*")

  # Of no RPC: the prefix, since a statement must name something.
  queue_arns = local.all_named && length(local.rpcs) > 0 ? [for rpc in sort(keys(local.rpcs)) : aws_sqs_queue.rpc[rpc].arn] : [local.any_queue_arn]
  dlq_arns   = local.all_named && length(local.rpcs) > 0 ? [for rpc in sort(keys(local.rpcs)) : aws_sqs_queue.dlq[rpc].arn] : ["${local.any_queue_arn}-dlq"]

  # DynamoDB asks for the key on behalf of whoever asks for an item.
  kms = var.kms_key_arn == null ? [] : [{
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    Resource = var.kms_key_arn
  }]
}

resource "aws_iam_policy" "relay" {
  name        = "${var.name}-relay"
  description = "Puts events on the bus ${var.name}."
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(
      {
        Sid      = "Put"
        Effect   = "Allow"
        Action   = "events:PutEvents"
        Resource = aws_cloudwatch_event_bus.this.arn
      },
      # A call carries ten events, and the source of each must be one of these.
      length(var.sources) == 0 ? {} : { Condition = { "ForAllValues:StringEquals" = { "events:source" = var.sources } } },
    )]
  })
}

resource "aws_iam_policy" "worker" {
  name        = "${var.name}-worker"
  description = "Works off the queues of ${var.name}."
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "Receive"
          Effect = "Allow"
          Action = [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
          ]
          Resource = local.queue_arns
        },
        {
          Sid      = "DeadLetter"
          Effect   = "Allow"
          Action   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]
          Resource = local.dlq_arns
        },
        {
          Sid      = "Dedup"
          Effect   = "Allow"
          Action   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
          Resource = aws_dynamodb_table.dedup.arn
        },
      ],
      local.kms,
    )
  })
}

resource "aws_iam_policy" "ops" {
  name        = "${var.name}-ops"
  description = "Looks at and repairs ${var.name}: the commands of `outbox`."
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        # By prefix: their names would not leave room for the rest.
        {
          Sid    = "Queues"
          Effect = "Allow"
          Action = [
            "sqs:CancelMessageMoveTask",
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ListDeadLetterSourceQueues",
            "sqs:ListMessageMoveTasks",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
            "sqs:StartMessageMoveTask",
          ]
          Resource = local.any_queue_arn
        },
        # What EventBridge could not deliver is put on the bus again.
        {
          Sid      = "PutAgain"
          Effect   = "Allow"
          Action   = "events:PutEvents"
          Resource = aws_cloudwatch_event_bus.this.arn
        },
        # What was done, forgetting it (--force), and who repaired what.
        {
          Sid    = "Records"
          Effect = "Allow"
          Action = [
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:DescribeTimeToLive",
            "dynamodb:PutItem",
          ]
          Resource = aws_dynamodb_table.dedup.arn
        },
        # `outbox doctor` compares what there is with event_router.yaml. These have no narrower resource that would show
        # what should not be there.
        {
          Sid      = "Look"
          Effect   = "Allow"
          Action   = ["events:DescribeEventBus", "events:ListRules", "events:ListTargetsByRule", "sqs:ListQueues"]
          Resource = "*"
        },
      ],
      local.kms,
    )
  })
}
