# The permissions of the relay, of the worker, and of an operator. Attach the policies to roles of yours. They are jsonencode() and
# not data sources, so that tests can read them.

locals {
  # IAM takes policies of 6144 characters. The queues of 16 RPCs fit, whatever their names. With more RPCs a policy names every
  # queue with this installation's prefix.
  rpcs_named_max = 16
  all_named      = length(local.queues) <= local.rpcs_named_max
  any_queue_arn  = replace(aws_sqs_queue.undeliverable.arn, "/undeliverable$/", "*")

  # Without any RPC it is the prefix, because a statement must name a resource.
  queue_arns = local.all_named && length(local.queues) > 0 ? [for rpc in sort(keys(local.queues)) : aws_sqs_queue.rpc[rpc].arn] : [local.any_queue_arn]
  dlq_arns   = local.all_named && length(local.queues) > 0 ? [for rpc in sort(keys(local.queues)) : aws_sqs_queue.dlq[rpc].arn] : ["${local.any_queue_arn}-dlq"]

  # The key may be used only through the service that acts for the role. The region is that of the queues.
  region = split(":", aws_sqs_queue.undeliverable.arn)[3]
  kms = var.kms_key_arn == null ? [] : [
    {
      Sid       = "KeyOfQueues"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = var.kms_key_arn
      Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.amazonaws.com" } }
    },
    {
      Sid       = "KeyOfTable"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
      Resource  = var.kms_key_arn
      Condition = { StringEquals = { "kms:ViaService" = "dynamodb.${local.region}.amazonaws.com" } }
    },
  ]

  # A call carries up to ten events, and the source of each must be one of these. An empty set would pass the first condition.
  as_sources = length(var.sources) == 0 ? {} : {
    Condition = {
      "ForAllValues:StringEquals" = { "events:source" = var.sources }
      Null                        = { "events:source" = "false" }
    }
  }

  # Items of the audit begin with `audit `. No policy allows to delete them, and workers may not write them. Workers write the
  # dedup records, the rosters, whose keys begin with `watch `, reports of processes, whose keys begin with `process`, and the
  # histories of events, whose keys begin with `history `.
  audit_only = {
    "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["audit *"] }
    Null                      = { "dynamodb:LeadingKeys" = "false" }
  }
  # `outbox poison` writes these items, and the workers of an RPC read them.
  poison_only = {
    "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["poison *"] }
    Null                      = { "dynamodb:LeadingKeys" = "false" }
  }
  # `outbox pause` and `outbox limit` write this item, and workers read it.
  brakes_only = {
    "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["brakes *"] }
    Null                      = { "dynamodb:LeadingKeys" = "false" }
  }
  no_audit = {
    "ForAllValues:StringNotLike" = { "dynamodb:LeadingKeys" = ["audit *"] }
    Null                         = { "dynamodb:LeadingKeys" = "false" }
  }
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
      local.as_sources,
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
          Sid       = "Dedup"
          Effect    = "Allow"
          Action    = ["dynamodb:GetItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:PutItem", "dynamodb:UpdateItem"]
          Resource  = aws_dynamodb_table.dedup.arn
          Condition = local.no_audit
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
        # By prefix, because the names of all queues would leave no room for the rest.
        {
          Sid    = "Queues"
          Effect = "Allow"
          Action = [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
          ]
          Resource = local.any_queue_arn
        },
        # An operator puts undeliverable events on the bus again, only as a source of the relay.
        merge(
          {
            Sid      = "PutAgain"
            Effect   = "Allow"
            Action   = "events:PutEvents"
            Resource = aws_cloudwatch_event_bus.this.arn
          },
          local.as_sources,
        ),
        # The dedup records and the audit.
        {
          Sid      = "Records"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"]
          Resource = aws_dynamodb_table.dedup.arn
        },
        # For --force, which runs an RPC again.
        {
          Sid       = "Forget"
          Effect    = "Allow"
          Action    = "dynamodb:DeleteItem"
          Resource  = aws_dynamodb_table.dedup.arn
          Condition = local.no_audit
        },
        {
          Sid       = "Audit"
          Effect    = "Allow"
          Action    = "dynamodb:UpdateItem"
          Resource  = aws_dynamodb_table.dedup.arn
          Condition = local.audit_only
        },
        {
          Sid       = "Poison"
          Effect    = "Allow"
          Action    = "dynamodb:PutItem"
          Resource  = aws_dynamodb_table.dedup.arn
          Condition = local.poison_only
        },
        {
          Sid       = "Brakes"
          Effect    = "Allow"
          Action    = "dynamodb:UpdateItem"
          Resource  = aws_dynamodb_table.dedup.arn
          Condition = local.brakes_only
        },
        # `outbox doctor` compares rules and queues with event_router.yaml. A narrower resource would hide those that should not
        # exist.
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
