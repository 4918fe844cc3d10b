variable "text" {
  description = "The content of an event_router.yaml."
  type        = string
}

variable "file" {
  description = "Its name; only for messages."
  type        = string
  default     = "event_router.yaml"
}

variable "queue_chars_max" {
  description = "How long the name of a queue may be, without prefix and `-dlq`."
  type        = number
  default     = 64
}

variable "kept" {
  description = "RPCs that are in the file no more, and whose queues stay."
  type        = list(string)
  default     = []
}
