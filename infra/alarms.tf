# Each alarm means that something is stuck or lost and needs an operator. A missing metric raises no alarm. Events that have not
# left the database are in the relay's /metrics.

locals {
  alarmed_rpcs   = var.alarms ? local.queues : {}
  alarmed_routes = var.alarms ? local.routes : {}
  alarmed_table  = var.alarms ? toset(["table"]) : toset([])

  dead_letter_queues = !var.alarms ? {} : merge(
    { for rpc, queue in local.queues : rpc => aws_sqs_queue.dlq[rpc].name },
    { undeliverable = aws_sqs_queue.undeliverable.name },
  )
}

# Not NumberOfMessagesSent: it does not count messages that SQS itself has moved.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = local.dead_letter_queues

  alarm_name          = "${each.value}-not-empty"
  alarm_description   = "Dead letters wait in ${each.value}."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# SQS leaves out messages that were received three times or more. So this alarm is about a worker that is too slow, or an RPC whose
# server is down. It is not about one message that fails again and again.
resource "aws_cloudwatch_metric_alarm" "queue_age" {
  for_each = local.alarmed_rpcs

  alarm_name          = "${aws_sqs_queue.rpc[each.key].name}-age"
  alarm_description   = "The oldest message of ${aws_sqs_queue.rpc[each.key].name} waits too long."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.rpc[each.key].name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.queue_age_alarm_seconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# EventBridge counts by rule and has no sum for a bus.
resource "aws_cloudwatch_metric_alarm" "failed_invocations" {
  for_each = local.alarmed_routes

  alarm_name          = "${var.name}-${each.value.rule}-failed"
  alarm_description   = "EventBridge gave up on ${each.key}: the event is in ${aws_sqs_queue.undeliverable.name}."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { EventBusName = aws_cloudwatch_event_bus.this.name, RuleName = aws_cloudwatch_event_rule.route[each.key].name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# Only here an event can be lost on AWS: neither its queue nor the undeliverable queue took it.
resource "aws_cloudwatch_metric_alarm" "lost" {
  for_each = local.alarmed_routes

  alarm_name          = "${var.name}-${each.value.rule}-lost"
  alarm_description   = "EventBridge dropped an event on its way ${each.key}: replay it from the archive, or from the outbox table."
  namespace           = "AWS/Events"
  metric_name         = "InvocationsFailedToBeSentToDLQ"
  dimensions          = { EventBusName = aws_cloudwatch_event_bus.this.name, RuleName = aws_cloudwatch_event_rule.route[each.key].name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
