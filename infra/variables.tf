variable "router_file" {
  description = "Path of event_router.yaml."
  type        = string

  validation {
    condition     = fileexists(var.router_file)
    error_message = "There is no such file: set router_file to the path of event_router.yaml, for example \"$${path.root}/../event_router.yaml\"."
  }
}

variable "name" {
  description = "The name of every resource, or its beginning. Two installations in one account need two names. Neither name, followed by a dash, may begin the other."
  type        = string
  default     = "outbox"

  # SQS takes 80 characters: this, a dash, a queue's own name and `-dlq`.
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "Use at most 40 lower-case letters, digits and dashes, beginning with a letter and not ending in a dash: SQS allows queues 80 characters, and an RPC's name needs the rest."
  }
}

variable "kept" {
  description = "RPCs that were removed from event_router.yaml. Their queues and dead letters stay until the RPCs are removed here."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for rpc in var.kept : can(regex("^([A-Za-z_][A-Za-z0-9_]*[.])*[A-Za-z_][A-Za-z0-9_]*/[A-Za-z_][A-Za-z0-9_]*$", rpc))])
    error_message = "Use names of RPCs as event_router.yaml had them, for example \"NotificationService/NotifyHogeUpdated\"."
  }
}

variable "sources" {
  description = "The sources the relay may publish as. Empty: any."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for source in var.sources : source != "" && !startswith(source, "aws.")])
    error_message = "A source is the name of a service of yours; it may not be empty nor begin with \"aws.\", which EventBridge keeps for itself."
  }
}

variable "archive_days" {
  description = "How long the bus keeps events for a replay; 0 makes no archive. A replay runs an RPC again that succeeded longer ago than the dedup window of 21 days."
  type        = number
  default     = 30

  validation {
    condition     = var.archive_days == floor(var.archive_days) && var.archive_days >= 0 && var.archive_days <= 3650
    error_message = "Use a whole number of days from 0 (no archive) to 3650."
  }
}

variable "max_message_size" {
  description = "The largest message of a queue, in bytes. More than 262144 needs version 6 of the AWS provider."
  type        = number
  default     = 262144

  # A relay that may send 240 KiB of payload must not find a queue that refuses it: EventBridge would drop the event.
  validation {
    condition     = var.max_message_size >= 262144 && var.max_message_size <= 1048576
    error_message = "Use 262144 to 1048576 bytes: a payload may have 240 KiB, and SQS takes no more than 1 MiB."
  }
}

variable "visibility_timeout_seconds" {
  description = "How long a received message stays hidden unless the worker extends it. A worker that died delays its messages by as much."
  type        = number
  default     = 60

  validation {
    condition     = var.visibility_timeout_seconds >= 10 && var.visibility_timeout_seconds <= 43200
    error_message = "Use 10 to 43200 seconds."
  }
}

variable "receive_wait_time_seconds" {
  description = "How long a receive waits for a message. Less than 20 costs more requests and gains nothing."
  type        = number
  default     = 20

  validation {
    condition     = var.receive_wait_time_seconds >= 1 && var.receive_wait_time_seconds <= 20
    error_message = "Use 1 to 20 seconds."
  }
}

variable "message_retention_days" {
  description = "How long a queue keeps an undelivered message."
  type        = number
  default     = 4

  validation {
    condition     = var.message_retention_days >= 1 && var.message_retention_days <= 13
    error_message = "Use 1 to 13 days: fewer than dlq_retention_days."
  }
}

variable "dlq_retention_days" {
  description = "How long a dead-letter queue keeps a message, counted from when it was first sent."
  type        = number
  default     = 14

  validation {
    condition     = var.dlq_retention_days >= 2 && var.dlq_retention_days <= 14
    error_message = "Use 2 to 14 days."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of yours for queues and table. Null: SQS's own encryption, and DynamoDB's own key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "Use the key's ARN, arn:aws:kms:…:key/…: an alias can't be named in a policy."
  }
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the dedup table."
  type        = bool
  default     = true
}

variable "point_in_time_recovery" {
  description = "Whether the dedup table can be restored to a point in time. It holds 21 days of `done` and nothing else."
  type        = bool
  default     = false
}

variable "alarms" {
  description = "Whether to make the CloudWatch alarms."
  type        = bool
  default     = true
}

variable "alarm_actions" {
  description = "ARNs of SNS topics that receive alarms."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "Use ARNs, for example those of SNS topics."
  }
}

variable "queue_age_alarm_seconds" {
  description = "The age of a queue's oldest message that raises an alarm."
  type        = number
  default     = 900

  validation {
    condition     = var.queue_age_alarm_seconds >= 60
    error_message = "Use 60 seconds or more: CloudWatch hears of it once a minute."
  }
}

variable "tags" {
  description = "Tags of every resource that can have tags."
  type        = map(string)
  default     = {}
}
