output "environment" {
  description = "Environment variables of the binaries, by binary: relay and worker."
  value = {
    relay = {
      OUTBOX_TRANSPORT = "aws"
      OUTBOX_BUS       = aws_cloudwatch_event_bus.this.name
    }
    worker = {
      OUTBOX_TRANSPORT    = "aws"
      OUTBOX_QUEUE_PREFIX = "${var.name}-"
      OUTBOX_DEDUP_TABLE  = aws_dynamodb_table.dedup.name
    }
  }

  # A relay that starts with this output finds every route in place. EventBridge drops events that no rule matches.
  depends_on = [aws_cloudwatch_event_target.route]
}

output "bus_arn" {
  description = "The bus."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "rules" {
  description = "The rule of every route, by '<event> -> <RPC>'."
  value       = { for key, rule in aws_cloudwatch_event_rule.route : key => rule.name }
}

output "queues" {
  description = "Name, URL and ARN of every RPC's queue and dead-letter queue, by RPC."
  value = {
    for rpc, queue in aws_sqs_queue.rpc : rpc => {
      name     = queue.name
      url      = queue.url
      arn      = queue.arn
      dlq_name = aws_sqs_queue.dlq[rpc].name
      dlq_url  = aws_sqs_queue.dlq[rpc].url
      dlq_arn  = aws_sqs_queue.dlq[rpc].arn
    }
  }
}

output "undeliverable_queue_url" {
  description = "The queue of events that EventBridge could not deliver."
  value       = aws_sqs_queue.undeliverable.url
}

output "dedup_table_arn" {
  description = "The dedup table."
  value       = aws_dynamodb_table.dedup.arn
}

output "policy_arns" {
  description = "IAM policies to attach to roles of yours: relay, worker and ops."
  value = {
    relay  = aws_iam_policy.relay.arn
    worker = aws_iam_policy.worker.arn
    ops    = aws_iam_policy.ops.arn
  }
}
