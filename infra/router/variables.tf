variable "text" {
  description = "The content of an event_router.yaml."
  type        = string
}

variable "file" {
  description = "Its name; only for messages."
  type        = string
  default     = "event_router.yaml"
}
