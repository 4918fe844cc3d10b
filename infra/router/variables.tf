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
  description = "The longest name of a queue, without prefix and `-dlq`."
  type        = number
  default     = 64
}

variable "kept" {
  description = "RPCs that were removed from the file, and whose queues stay."
  type        = list(string)
  default     = []
}
