# A dedup table that does not answer stops every delivery: workers do not call an RPC that may have been called before.

resource "aws_cloudwatch_metric_alarm" "dedup_throttled" {
  for_each = local.alarmed_table

  alarm_name          = "${aws_dynamodb_table.dedup.name}-throttled"
  alarm_description   = "DynamoDB throttles ${aws_dynamodb_table.dedup.name}: deliveries wait."
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  # A minute of throttling is normal while an on-demand table grows.
  metric_query {
    id          = "throttled"
    expression  = "FILL(reads, 0) + FILL(writes, 0)"
    label       = "Throttled reads and writes"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { reads = "ReadThrottleEvents", writes = "WriteThrottleEvents" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/DynamoDB"
        metric_name = metric_query.value
        dimensions  = { TableName = aws_dynamodb_table.dedup.name }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "dedup_errors" {
  for_each = local.alarmed_table

  alarm_name          = "${aws_dynamodb_table.dedup.name}-errors"
  alarm_description   = "DynamoDB fails to serve ${aws_dynamodb_table.dedup.name}: deliveries wait."
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "errors"
    expression  = "FILL(batches, 0) + FILL(deletes, 0) + FILL(gets, 0) + FILL(puts, 0) + FILL(updates, 0)"
    label       = "System errors"
    return_data = true
  }

  # DynamoDB counts by operation and has no sum for a table.
  dynamic "metric_query" {
    for_each = { batches = "BatchExecuteStatement", deletes = "DeleteItem", gets = "GetItem", puts = "PutItem", updates = "UpdateItem" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/DynamoDB"
        metric_name = "SystemErrors"
        dimensions  = { TableName = aws_dynamodb_table.dedup.name, Operation = metric_query.value }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}
