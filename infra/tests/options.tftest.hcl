# Guards: every variable has its documented effect, and refuses values that AWS would refuse later.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  router_file = "./tests/router.yaml"
}

run "defaults" {
  assert {
    condition = output.environment == {
      relay  = { OUTBOX_TRANSPORT = "aws", OUTBOX_BUS = "outbox" }
      worker = { OUTBOX_TRANSPORT = "aws", OUTBOX_QUEUE_PREFIX = "outbox-", OUTBOX_DEDUP_TABLE = "outbox-dedup" }
    }
    error_message = jsonencode(output.environment)
  }

  assert {
    condition = (
      aws_dynamodb_table.dedup.billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.dedup.hash_key == "id" &&
      one(aws_dynamodb_table.dedup.attribute).type == "S" && aws_dynamodb_table.dedup.ttl[0].attribute_name == "expires_at" &&
      aws_dynamodb_table.dedup.ttl[0].enabled && aws_dynamodb_table.dedup.deletion_protection_enabled &&
      length(aws_dynamodb_table.dedup.server_side_encryption) == 0
    )
    error_message = "The dedup table is not what the worker expects."
  }

  assert {
    condition     = aws_cloudwatch_event_archive.this[0].retention_days == 30
    error_message = "There should be an archive of 30 days."
  }

  assert {
    condition = (
      toset([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm.dimensions.QueueName]) ==
      toset(concat(values(aws_sqs_queue.dlq)[*].name, ["outbox-undeliverable"])) &&
      alltrue([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm.metric_name == "ApproximateNumberOfMessagesVisible" && alarm.statistic == "Maximum" && alarm.threshold == 0 && alarm.treat_missing_data == "notBreaching"])
    )
    error_message = "Every dead-letter queue should have an alarm."
  }

  assert {
    condition = (
      length(aws_cloudwatch_metric_alarm.queue_age) == 2 && length(aws_cloudwatch_metric_alarm.failed_invocations) == 3 && length(aws_cloudwatch_metric_alarm.lost) == 3 &&
      aws_cloudwatch_metric_alarm.lost["event_hoge_deleted -> acme.v1.AuditService/Record"].dimensions == tomap({ EventBusName = "outbox", RuleName = "event_hoge_deleted--acme-v1-AuditService--Record" })
    )
    error_message = "Every queue and every rule should have its alarms."
  }
}

run "with_a_key" {
  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = alltrue([
      for queue in concat(values(aws_sqs_queue.rpc), values(aws_sqs_queue.dlq), [aws_sqs_queue.undeliverable]) :
      queue.kms_master_key_id == var.kms_key_arn
    ]) && aws_dynamodb_table.dedup.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    error_message = "Queues and table should be encrypted with the key."
  }

  assert {
    condition = (
      [for s in jsondecode(aws_iam_policy.worker.policy).Statement : s.Resource if startswith(s.Sid, "Key")] == [var.kms_key_arn, var.kms_key_arn] &&
      [for s in jsondecode(aws_iam_policy.worker.policy).Statement : s.Condition if startswith(s.Sid, "Key")] == [
        { StringEquals = { "kms:ViaService" = "sqs.us-east-1.amazonaws.com" } },
        { StringEquals = { "kms:ViaService" = "dynamodb.us-east-1.amazonaws.com" } },
      ] &&
      [for s in jsondecode(aws_iam_policy.ops.policy).Statement : s.Action if startswith(s.Sid, "Key")] == [
        ["kms:Decrypt", "kms:GenerateDataKey"], ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
      ] &&
      [for s in jsondecode(aws_iam_policy.relay.policy).Statement : s.Sid] == ["Put"]
    )
    error_message = "Worker and ops need the key, the relay does not."
  }
}

run "with_everything_else" {
  variables {
    name                    = "a-b"
    sources                 = ["cards", "ledger"]
    archive_days            = 0
    alarms                  = false
    deletion_protection     = false
    point_in_time_recovery  = true
    message_retention_days  = 6
    queue_age_alarm_seconds = 60
  }

  assert {
    condition = [
      for s in concat(jsondecode(aws_iam_policy.relay.policy).Statement, jsondecode(aws_iam_policy.ops.policy).Statement) :
      s.Condition if try(s.Action == "events:PutEvents", false)
    ] == [for _ in range(2) : { "ForAllValues:StringEquals" = { "events:source" = ["cards", "ledger"] }, Null = { "events:source" = "false" } }]
    error_message = aws_iam_policy.relay.policy
  }

  assert {
    condition = (
      length(aws_cloudwatch_event_archive.this) == 0 && length(aws_cloudwatch_metric_alarm.dead_letters) == 0 &&
      length(aws_cloudwatch_metric_alarm.queue_age) == 0 && length(aws_cloudwatch_metric_alarm.lost) == 0 &&
      length(aws_cloudwatch_metric_alarm.failed_invocations) == 0 && length(aws_cloudwatch_metric_alarm.dedup_errors) == 0 &&
      length(aws_cloudwatch_metric_alarm.dedup_throttled) == 0
    )
    error_message = "There should be neither archive nor alarms."
  }

  assert {
    condition = (
      output.environment.worker.OUTBOX_QUEUE_PREFIX == "a-b-" && aws_sqs_queue.undeliverable.name == "a-b-undeliverable" &&
      aws_dynamodb_table.dedup.name == "a-b-dedup" && !aws_dynamodb_table.dedup.deletion_protection_enabled &&
      aws_dynamodb_table.dedup.point_in_time_recovery[0].enabled
    )
    error_message = "Names or options of the table are not those asked for."
  }
}

run "what_goes_may_leave_its_queue" {
  variables {
    kept = ["Gone.v1.Service/Did"]
  }

  assert {
    condition = (
      aws_sqs_queue.rpc["Gone.v1.Service/Did"].name == "outbox-Gone-v1-Service--Did" &&
      aws_sqs_queue.dlq["Gone.v1.Service/Did"].name == "outbox-Gone-v1-Service--Did-dlq" &&
      [for s in jsondecode(aws_sqs_queue_policy.rpc["Gone.v1.Service/Did"].policy).Statement : s.Sid] == ["OnlyTls"] &&
      length(aws_sqs_queue.rpc) == 3 && length(aws_cloudwatch_event_rule.route) == 3 &&
      contains(keys(output.queues), "Gone.v1.Service/Did") &&
      length([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm if alarm.dimensions.QueueName == "outbox-Gone-v1-Service--Did-dlq"]) == 1
    )
    error_message = "The queue and the dead letters of an RPC that is kept should stay, without a rule."
  }
}

run "what_is_subscribed_is_not_kept" {
  command = plan

  module {
    source = "./router"
  }

  variables {
    text = file("./tests/router.yaml")
    kept = ["acme.v1.AuditService/Record"]
  }

  expect_failures = [output.kept]
}

run "more_rules_and_queues_than_policies_have_room_for" {
  variables {
    router_file = "./tests/many.yaml"
  }

  assert {
    condition = (
      jsondecode(aws_sqs_queue_policy.rpc["S/All"].policy).Statement[0].Condition.ArnLike["aws:SourceArn"] == ["arn:aws:events:us-east-1:123456789012:rule/outbox/*"] &&
      jsondecode(aws_sqs_queue_policy.undeliverable.policy).Statement[0].Condition.ArnLike["aws:SourceArn"] == ["arn:aws:events:us-east-1:123456789012:rule/outbox/*"] &&
      jsondecode(aws_sqs_queue_policy.rpc["S/M1"].policy).Statement[0].Condition.ArnLike["aws:SourceArn"] == ["arn:aws:events:us-east-1:123456789012:rule/outbox/any"]
    )
    error_message = "Beyond 50 rules a policy should name the bus's rules, and no others."
  }

  assert {
    condition = (
      jsondecode(aws_iam_policy.worker.policy).Statement[0].Resource == ["arn:aws:sqs:us-east-1:123456789012:outbox-*"] &&
      jsondecode(aws_iam_policy.worker.policy).Statement[1].Resource == ["arn:aws:sqs:us-east-1:123456789012:outbox-*-dlq"]
    )
    error_message = aws_iam_policy.worker.policy
  }
}

run "retention_longer_than_dedup_remembers" {
  command = plan

  variables {
    message_retention_days = 7
  }

  expect_failures = [aws_sqs_queue.dlq]
}

run "dead_letters_kept_for_less_than_messages" {
  command = plan

  variables {
    message_retention_days = 4
    dlq_retention_days     = 4
  }

  expect_failures = [aws_sqs_queue.dlq]
}

run "bad_values" {
  command = plan

  variables {
    name                       = "a-name-of-more-than-forty-characters-in-all"
    sources                    = ["aws.mine"]
    archive_days               = -1
    max_message_size           = 1024
    visibility_timeout_seconds = 0
    receive_wait_time_seconds  = 0
    message_retention_days     = 14
    dlq_retention_days         = 15
    kms_key_arn                = "alias/mine"
    queue_age_alarm_seconds    = 0
    alarm_actions              = ["me@example.com"]
  }

  expect_failures = [
    var.name,
    var.sources,
    var.archive_days,
    var.max_message_size,
    var.visibility_timeout_seconds,
    var.receive_wait_time_seconds,
    var.message_retention_days,
    var.dlq_retention_days,
    var.kms_key_arn,
    var.queue_age_alarm_seconds,
    var.alarm_actions,
  ]
}
