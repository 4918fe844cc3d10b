# Who may do what with a queue, seen from the queue: EventBridge sends into it, on behalf of its own rules only, and nobody
# speaks to it in the clear. What worker and people may do is in iam.tf.

resource "aws_sqs_queue_policy" "rpc" {
  for_each = local.queues

  queue_url = aws_sqs_queue.rpc[each.key].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      # A queue that is kept has no rule any more.
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
      # A router without routes has no rule to name, and an empty list is no policy.
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
