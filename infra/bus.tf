# Publishers address the bus, not the subscribers. There is one rule per event and RPC, made from event_router.yaml.

resource "aws_cloudwatch_event_bus" "this" {
  name = var.name
  tags = var.tags
}

resource "aws_cloudwatch_event_archive" "this" {
  count = var.archive_days > 0 ? 1 : 0

  name             = var.name
  description      = "Every event, for a replay."
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.archive_days
}

# One rule has one target. A rule may have at most five, and a sixth subscriber must not move the others to other rules.
resource "aws_cloudwatch_event_rule" "route" {
  for_each = local.routes

  name           = each.value.rule
  description    = substr("Runs ${each.value.rpc} on ${each.value.event}.", 0, 512)
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ "detail-type" = [each.value.event] })
  tags           = var.tags
}

resource "aws_cloudwatch_event_target" "route" {
  for_each = local.routes

  rule           = aws_cloudwatch_event_rule.route[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = each.value.queue
  arn            = aws_sqs_queue.rpc[each.value.rpc].arn

  # A text, because jsonencode() would write <detail> as \u003cdetail\u003e and lose the placeholder. An RPC's name needs no
  # escaping. Only the whole object is inserted, because EventBridge escapes nothing within a string.
  input_transformer {
    input_paths    = { detail = "$.detail" }
    input_template = "{\"rpc\":\"${each.value.rpc}\",\"event\":<detail>}"
  }

  # EventBridge's maximum, which is also its default. It is written down because the dedup window depends on it.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.undeliverable.arn
  }

  # EventBridge does not retry where a queue's policy does not admit it yet: the event would be lost.
  depends_on = [aws_sqs_queue_policy.rpc, aws_sqs_queue_policy.undeliverable]
}
