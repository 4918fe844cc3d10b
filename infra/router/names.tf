# The names of rules and queues. crates/event-router/src/names.rs has the same rule, and tests/names.json checks both.
#
# A name is that of the RPC's queue, which is the RPC's own unless the subscriber has `queue`, with `-` for each dot and `--` for the slash. No two RPCs share a name, because identifiers have no
# dashes. A name that is too long is cut and ends in a dash and the first 8 hex digits of the SHA-256 of the whole name.

locals {
  # EventBridge allows a rule 64 characters. SQS allows a queue 80; the rest is for a prefix and for `-dlq`.
  name_chars_max = 64
  hash_chars     = 8

  dashed = {
    for rpc in distinct(concat(flatten([for event in local.events : event.subscribers[*].queue]), var.kept)) :
    rpc => replace(replace(rpc, ".", "-"), "/", "--")
  }

  queue_names = {
    for rpc, name in local.dashed : rpc => length(name) <= var.queue_chars_max ? name : join("-", [
      substr(name, 0, var.queue_chars_max - local.hash_chars - 1),
      substr(sha256(name), 0, local.hash_chars),
    ])
  }

  # HCL has no functions of one's own, so every needed name is a key. Every name is ASCII, or checks.tf refuses it.
  shortened = {
    for name in distinct(flatten([
      for event in local.events : [
        for subscriber in event.subscribers : "${event.name}--${local.dashed[subscriber.queue]}"
      ]
    ])) :
    name => length(name) <= local.name_chars_max ? name : join("-", [
      substr(name, 0, local.name_chars_max - local.hash_chars - 1),
      substr(sha256(name), 0, local.hash_chars),
    ])
  }
}
