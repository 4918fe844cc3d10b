# Publishers know the bus, never who listens: one rule per event and RPC, made from event_router.yaml.

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

# One rule has one target: a rule may have five and no more, and a sixth subscriber must not reshuffle the others.
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

  # A text, not jsonencode(), which would write <detail> as \u003cdetail\u003e and lose the placeholder. Nothing in an RPC's
  # name needs escaping, and only the whole object is inserted: EventBridge escapes nothing within a string.
  input_transformer {
    input_paths    = { detail = "$.detail" }
    input_template = "{\"rpc\":\"${each.value.rpc}\",\"event\":<detail>}"
  }

  # EventBridge's maximum, which is also its default; written down because the dedup window counts on it.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.undeliverable.arn
  }

  # A queue that does not let EventBridge in yet is no reason for it to retry: the event would be gone.
  depends_on = [aws_sqs_queue_policy.rpc, aws_sqs_queue_policy.undeliverable]
}
