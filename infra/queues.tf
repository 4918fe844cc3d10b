# A queue per RPC, so that a slow RPC holds up no other, and a dead-letter queue for each. Events that EventBridge could not put into
# a queue have a queue of their own: they are not deliveries yet, and SQS can't redrive them.

locals {
  day_seconds = 24 * 60 * 60

  # SQS takes policies of 8192 bytes. 50 rules fit, whatever their names. With more rules the policy admits any rule of this bus.
  rules_named_max = 50
  any_rule_arn    = "${replace(aws_cloudwatch_event_bus.this.arn, ":event-bus/", ":rule/")}/*"

  rule_arns = {
    for rpc, queue in local.queues : rpc => length(queue.routes) <= local.rules_named_max ? [
      for key in queue.routes : aws_cloudwatch_event_rule.route[key].arn
    ] : [local.any_rule_arn]
  }
  all_rule_arns = length(local.routes) <= local.rules_named_max ? [
    for key in sort(keys(local.routes)) : aws_cloudwatch_event_rule.route[key].arn
  ] : [local.any_rule_arn]
}

resource "aws_sqs_queue" "rpc" {
  for_each = local.queues

  name                       = "${var.name}-${each.value.queue}"
  receive_wait_time_seconds  = var.receive_wait_time_seconds
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.message_retention_days * local.day_seconds
  max_message_size           = var.max_message_size
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  tags                       = var.tags

  # A safety net for messages that kill workers. Normally the worker dead-letters by itself, after max_attempts and with the reason.
  # Receives that were not attempts (another worker called, dedup did not answer) must not reach this limit first.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq[each.key].arn
    maxReceiveCount     = min(1000, 2 * each.value.max_attempts + 10)
  })
}

resource "aws_sqs_queue" "dlq" {
  for_each = local.queues

  name                      = "${var.name}-${each.value.queue}-dlq"
  receive_wait_time_seconds = var.receive_wait_time_seconds
  message_retention_seconds = var.dlq_retention_days * local.day_seconds
  max_message_size          = var.max_message_size
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags

  lifecycle {
    # SQS counts from when the message was first sent.
    precondition {
      condition     = var.dlq_retention_days > var.message_retention_days
      error_message = "dlq_retention_days must be more than message_retention_days: a message that moves to the dead-letter queue keeps its age."
    }
    # A copy may live for a day in EventBridge, then in the queue, then in the dead-letter queue.
    precondition {
      condition     = 1 + var.message_retention_days + var.dlq_retention_days <= 21
      error_message = "message_retention_days and dlq_retention_days may be 20 together: `done` is remembered for 21 days, and a copy that lives longer would run the RPC again."
    }
  }
}

resource "aws_sqs_queue_redrive_allow_policy" "dlq" {
  for_each = local.queues

  queue_url = aws_sqs_queue.dlq[each.key].url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.rpc[each.key].arn]
  })
}

# The body is the event as it was on the bus. The attributes say which rule failed and why.
resource "aws_sqs_queue" "undeliverable" {
  name                      = "${var.name}-undeliverable"
  receive_wait_time_seconds = var.receive_wait_time_seconds
  message_retention_seconds = var.dlq_retention_days * local.day_seconds
  max_message_size          = var.max_message_size
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}
