# Mocked answers of AWS. Terraform's own mocks are random texts, and the provider refuses those as ARNs.

mock_resource "aws_cloudwatch_event_bus" {
  defaults = { arn = "arn:aws:events:us-east-1:123456789012:event-bus/outbox" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:us-east-1:123456789012:rule/outbox/any" }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:us-east-1:123456789012:any"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/any"
  }
}

mock_resource "aws_dynamodb_table" {
  defaults = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup" }
}

mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/any" }
}

# All mocks of a kind have one ARN; resources that tests distinguish have their own. These are the routes of router.yaml.
override_resource {
  target = aws_cloudwatch_event_rule.route["event_hoge_updated -> NotificationService/NotifyHogeUpdated"]
  values = { arn = "arn:aws:events:us-east-1:123456789012:rule/outbox/notify-updated" }
}

override_resource {
  target = aws_cloudwatch_event_rule.route["event_hoge_updated -> acme.v1.AuditService/Record"]
  values = { arn = "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-updated" }
}

override_resource {
  target = aws_cloudwatch_event_rule.route["event_hoge_deleted -> acme.v1.AuditService/Record"]
  values = { arn = "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-deleted" }
}

override_resource {
  target = aws_sqs_queue.rpc["NotificationService/NotifyHogeUpdated"]
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:notify"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/notify"
  }
}

override_resource {
  target = aws_sqs_queue.rpc["acme.v1.AuditService/Record"]
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:audit"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/audit"
  }
}

override_resource {
  target = aws_sqs_queue.dlq["NotificationService/NotifyHogeUpdated"]
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:notify-dlq"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/notify-dlq"
  }
}

override_resource {
  target = aws_sqs_queue.dlq["acme.v1.AuditService/Record"]
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:audit-dlq"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/audit-dlq"
  }
}

override_resource {
  target = aws_sqs_queue.undeliverable
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:outbox-undeliverable"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/outbox-undeliverable"
  }
}
