# Guards: the resources for a router. One queue per RPC, one rule per event and RPC, and policies that admit exactly those.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  router_file = "./tests/router.yaml"
}

run "rules_and_targets" {
  assert {
    condition = { for key, rule in aws_cloudwatch_event_rule.route : key => [rule.name, rule.event_pattern, rule.event_bus_name] } == {
      "event_hoge_updated -> NotificationService/NotifyHogeUpdated" = ["event_hoge_updated--NotificationService--NotifyHogeUpdated", "{\"detail-type\":[\"event_hoge_updated\"]}", "outbox"]
      "event_hoge_updated -> acme.v1.AuditService/Record"           = ["event_hoge_updated--acme-v1-AuditService--Record", "{\"detail-type\":[\"event_hoge_updated\"]}", "outbox"]
      "event_hoge_deleted -> acme.v1.AuditService/Record"           = ["event_hoge_deleted--acme-v1-AuditService--Record", "{\"detail-type\":[\"event_hoge_deleted\"]}", "outbox"]
    }
    error_message = "There should be one rule per event and RPC, matching exactly the event."
  }

  assert {
    condition = { for key, target in aws_cloudwatch_event_target.route : key => [target.target_id, target.arn, target.input_transformer[0].input_template] } == {
      "event_hoge_updated -> NotificationService/NotifyHogeUpdated" = ["NotificationService--NotifyHogeUpdated", "arn:aws:sqs:us-east-1:123456789012:notify", "{\"rpc\":\"NotificationService/NotifyHogeUpdated\",\"event\":<detail>}"]
      "event_hoge_updated -> acme.v1.AuditService/Record"           = ["acme-v1-AuditService--Record", "arn:aws:sqs:us-east-1:123456789012:audit", "{\"rpc\":\"acme.v1.AuditService/Record\",\"event\":<detail>}"]
      "event_hoge_deleted -> acme.v1.AuditService/Record"           = ["acme-v1-AuditService--Record", "arn:aws:sqs:us-east-1:123456789012:audit", "{\"rpc\":\"acme.v1.AuditService/Record\",\"event\":<detail>}"]
    }
    error_message = "A target should lead to its RPC's queue, with the template byte by byte."
  }

  assert {
    condition = alltrue([
      for target in aws_cloudwatch_event_target.route :
      target.input_transformer[0].input_paths == tomap({ detail = "$.detail" }) &&
      target.retry_policy[0].maximum_event_age_in_seconds == 86400 &&
      target.retry_policy[0].maximum_retry_attempts == 185 &&
      target.dead_letter_config[0].arn == "arn:aws:sqs:us-east-1:123456789012:outbox-undeliverable"
    ])
    error_message = "Every target should carry the whole detail, retry for a day and then keep the event."
  }
}

run "one_queue_per_rpc" {
  assert {
    condition = { for rpc, queue in aws_sqs_queue.rpc : rpc => [queue.name, aws_sqs_queue.dlq[rpc].name] } == {
      "NotificationService/NotifyHogeUpdated" = ["outbox-NotificationService--NotifyHogeUpdated", "outbox-NotificationService--NotifyHogeUpdated-dlq"]
      "acme.v1.AuditService/Record"           = ["outbox-acme-v1-AuditService--Record", "outbox-acme-v1-AuditService--Record-dlq"]
    }
    error_message = "An RPC of two events should have one queue, and an event without subscribers none."
  }

  assert {
    condition = { for rpc, queue in aws_sqs_queue.rpc : rpc => jsondecode(queue.redrive_policy) } == {
      "NotificationService/NotifyHogeUpdated" = { deadLetterTargetArn = "arn:aws:sqs:us-east-1:123456789012:notify-dlq", maxReceiveCount = 50 }
      "acme.v1.AuditService/Record"           = { deadLetterTargetArn = "arn:aws:sqs:us-east-1:123456789012:audit-dlq", maxReceiveCount = 20 }
    }
    error_message = "The worker should be first to dead-letter: 2 * max_attempts + 10 receives."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dlq["acme.v1.AuditService/Record"].redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = ["arn:aws:sqs:us-east-1:123456789012:audit"] }
    error_message = "A dead-letter queue should be that of one queue."
  }

  assert {
    condition = alltrue([
      for queue in concat(values(aws_sqs_queue.rpc), values(aws_sqs_queue.dlq), [aws_sqs_queue.undeliverable]) :
      queue.sqs_managed_sse_enabled && queue.kms_master_key_id == null && queue.max_message_size == 262144 && queue.receive_wait_time_seconds == 20
    ])
    error_message = "Every queue should be encrypted by SQS, long-polled and of one size."
  }

  assert {
    condition = alltrue(concat(
      [for queue in aws_sqs_queue.rpc : queue.message_retention_seconds == 345600 && queue.visibility_timeout_seconds == 60],
      [for queue in aws_sqs_queue.dlq : queue.message_retention_seconds == 1209600],
      [aws_sqs_queue.undeliverable.name == "outbox-undeliverable" && aws_sqs_queue.undeliverable.message_retention_seconds == 1209600],
    ))
    error_message = "4 days, then 14 as dead letters."
  }
}

run "queues_let_in_their_own_rules" {
  assert {
    condition = jsondecode(aws_sqs_queue_policy.rpc["acme.v1.AuditService/Record"].policy).Statement == [
      {
        Sid       = "RulesSend"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = "arn:aws:sqs:us-east-1:123456789012:audit"
        Condition = { ArnLike = { "aws:SourceArn" = [
          "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-deleted",
          "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-updated",
        ] } }
      },
      {
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = "arn:aws:sqs:us-east-1:123456789012:audit"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
    error_message = aws_sqs_queue_policy.rpc["acme.v1.AuditService/Record"].policy
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_policy.rpc["NotificationService/NotifyHogeUpdated"].policy).Statement[0].Condition == { ArnLike = { "aws:SourceArn" = ["arn:aws:events:us-east-1:123456789012:rule/outbox/notify-updated"] } }
    error_message = aws_sqs_queue_policy.rpc["NotificationService/NotifyHogeUpdated"].policy
  }

  assert {
    condition     = [for statement in jsondecode(aws_sqs_queue_policy.dlq["acme.v1.AuditService/Record"].policy).Statement : statement.Effect] == ["Deny"]
    error_message = "A dead-letter queue should let in nobody but who has a role for it."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_policy.undeliverable.policy).Statement[0].Condition == { ArnLike = { "aws:SourceArn" = [
      "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-deleted",
      "arn:aws:events:us-east-1:123456789012:rule/outbox/notify-updated",
      "arn:aws:events:us-east-1:123456789012:rule/outbox/audit-updated",
    ] } }
    error_message = aws_sqs_queue_policy.undeliverable.policy
  }
}

run "roles" {
  assert {
    condition     = jsondecode(aws_iam_policy.relay.policy).Statement == [{ Sid = "Put", Effect = "Allow", Action = "events:PutEvents", Resource = "arn:aws:events:us-east-1:123456789012:event-bus/outbox" }]
    error_message = aws_iam_policy.relay.policy
  }

  assert {
    condition = jsondecode(aws_iam_policy.worker.policy).Statement == [
      {
        Sid      = "Receive"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
        Resource = ["arn:aws:sqs:us-east-1:123456789012:notify", "arn:aws:sqs:us-east-1:123456789012:audit"]
      },
      {
        Sid      = "DeadLetter"
        Effect   = "Allow"
        Action   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]
        Resource = ["arn:aws:sqs:us-east-1:123456789012:notify-dlq", "arn:aws:sqs:us-east-1:123456789012:audit-dlq"]
      },
      {
        Sid      = "Dedup"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        Resource = "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"
        Condition = {
          "ForAllValues:StringNotLike" = { "dynamodb:LeadingKeys" = ["audit *"] }
          Null                         = { "dynamodb:LeadingKeys" = "false" }
        }
      },
    ]
    error_message = aws_iam_policy.worker.policy
  }

  assert {
    condition = [for s in jsondecode(aws_iam_policy.ops.policy).Statement : [s.Sid, s.Action, s.Resource]] == [
      ["Queues", ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage"], "arn:aws:sqs:us-east-1:123456789012:outbox-*"],
      ["PutAgain", "events:PutEvents", "arn:aws:events:us-east-1:123456789012:event-bus/outbox"],
      ["Records", ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"], "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"],
      ["Forget", "dynamodb:DeleteItem", "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"],
      ["Audit", "dynamodb:UpdateItem", "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"],
      ["Poison", "dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"],
      ["Brakes", "dynamodb:UpdateItem", "arn:aws:dynamodb:us-east-1:123456789012:table/outbox-dedup"],
      ["Look", ["events:DescribeEventBus", "events:ListRules", "events:ListTargetsByRule", "sqs:ListQueues"], "*"],
    ]
    error_message = aws_iam_policy.ops.policy
  }

  # The audit stays: no policy allows to delete an entry, and only entries may be written there.
  assert {
    condition = { for s in jsondecode(aws_iam_policy.ops.policy).Statement : s.Sid => s.Condition if can(s.Condition) } == {
      Forget = {
        "ForAllValues:StringNotLike" = { "dynamodb:LeadingKeys" = ["audit *"] }
        Null                         = { "dynamodb:LeadingKeys" = "false" }
      }
      Audit = {
        "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["audit *"] }
        Null                      = { "dynamodb:LeadingKeys" = "false" }
      }
      Poison = {
        "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["poison *"] }
        Null                      = { "dynamodb:LeadingKeys" = "false" }
      }
      Brakes = {
        "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["brakes *"] }
        Null                      = { "dynamodb:LeadingKeys" = "false" }
      }
    }
    error_message = aws_iam_policy.ops.policy
  }
}
