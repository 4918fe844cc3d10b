variable "region" {
  description = "The region."
  type        = string
  default     = "us-east-1"
}

variable "name" {
  description = "The name of every resource, or its beginning."
  type        = string
  default     = "outbox"
}

variable "aws_endpoint" {
  description = "The endpoint of an emulator, for example http://127.0.0.1:4566. Empty: AWS."
  type        = string
  default     = ""
}

variable "alarms" {
  description = "Whether to make the CloudWatch alarms; an emulator may not have any."
  type        = bool
  default     = true
}

variable "archive_days" {
  description = "How long the bus keeps events; 0 makes no archive."
  type        = number
  default     = 30
}
