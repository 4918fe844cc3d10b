# The permissions on a queue. EventBridge may send, only on behalf of the queue's own rules. Requests without TLS are refused. The
# permissions of worker and operators are in iam.tf.

resource "aws_sqs_queue_policy" "rpc" {
  for_each = local.queues

  queue_url = aws_sqs_queue.rpc[each.key].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      # A queue in `kept` has no rule any more.
      length(local.rule_arns[each.key]) == 0 ? [] : [
        {
          Sid       = "RulesSend"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = aws_sqs_queue.rpc[each.key].arn
          Condition = { ArnLike = { "aws:SourceArn" = local.rule_arns[each.key] } }
        },
      ],
      [
        {
          Sid       = "OnlyTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = aws_sqs_queue.rpc[each.key].arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ],
    )
  })
}

resource "aws_sqs_queue_policy" "dlq" {
  for_each = local.queues

  queue_url = aws_sqs_queue.dlq[each.key].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.dlq[each.key].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sqs_queue_policy" "undeliverable" {
  queue_url = aws_sqs_queue.undeliverable.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      # A router without routes has no rule to name, and a policy needs at least one statement.
      length(local.routes) == 0 ? [] : [
        {
          Sid       = "RulesSend"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = aws_sqs_queue.undeliverable.arn
          Condition = { ArnLike = { "aws:SourceArn" = local.all_rule_arns } }
        },
      ],
      [
        {
          Sid       = "OnlyTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = aws_sqs_queue.undeliverable.arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ],
    )
  })
}
