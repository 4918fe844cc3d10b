# From the text of event_router.yaml to routes. Nothing here fails on a malformed file, because checks.tf reports all mistakes at
# once. Hence the many try().

locals {
  # A list, because HCL evaluates both sides of a conditional. Null is a file that must not be decoded, or that is not YAML.
  decoded  = [for text in [local.without_mark] : try([yamldecode(text)], []) if local.is_decodable]
  is_yaml  = !local.is_decodable || try(length(local.decoded[0]) > 0, false)
  document = try(local.decoded[0][0], null)

  # A map can be iterated, too, and is a mistake here.
  event_is_list = can([for event in local.document.event : event]) && !can(keys(local.document.event))

  events = [
    for at, event in try([for event in local.document.event : event if local.event_is_list], []) : {
      is_map = can(keys(event))
      keys   = try(keys(event), [])
      # coalesce() refuses null. A comparison with its text tells a bool or a number from a text.
      name               = try(coalesce(tostring(event.name)), "")
      name_is_text       = try(event.name == tostring(event.name), false)
      package_is_valid   = !can(event.package) || try(event.package == tostring(event.package) && length(event.package) <= 256 && can(regex(local.package_pattern, event.package)), false)
      label              = try("event '${event.name}'", "entry ${at + 1} of `event`")
      subscriber_is_list = can([for subscriber in event.subscriber : subscriber]) && !can(keys(event.subscriber))
      subscribers = [
        for at, subscriber in try([for subscriber in event.subscriber : subscriber if !can(keys(event.subscriber))], []) : {
          is_map     = can(keys(subscriber))
          keys       = try(keys(subscriber), [])
          id         = try(coalesce(tostring(subscriber.id)), "")
          id_is_text = try(subscriber.id == tostring(subscriber.id), false)
          # The name that the RPC's queue keeps, wherever the RPC moves. Everything below is named after it.
          queue         = can(subscriber.queue) ? try(coalesce(tostring(subscriber.queue)), "") : try(coalesce(tostring(subscriber.id)), "")
          queue_is_text = !can(subscriber.queue) || try(subscriber.queue == tostring(subscriber.queue), false)
          label         = try("'${subscriber.id}'", "entry ${at + 1} of `subscriber`")
          max_attempts  = try(subscriber.max_attempts, 20)
          # '5', 1.5 and null are not whole numbers.
          max_attempts_is_valid = !can(subscriber.max_attempts) || try(
            subscriber.max_attempts == floor(subscriber.max_attempts) &&
            subscriber.max_attempts >= 1 && subscriber.max_attempts <= local.max_attempts_max,
            false,
          )
          concurrency_is_valid = !can(subscriber.concurrency) || try(
            subscriber.concurrency == floor(subscriber.concurrency) &&
            subscriber.concurrency >= 1 && subscriber.concurrency <= local.concurrency_max,
            false,
          )
          rate_is_valid = !can(subscriber.rate_per_second) || try(
            subscriber.rate_per_second == floor(subscriber.rate_per_second) &&
            subscriber.rate_per_second >= 1 && subscriber.rate_per_second <= local.rate_per_second_max,
            false,
          )
          # As texts: a value that is not a text becomes a text that is not a duration.
          concurrency     = try(coalesce(tostring(subscriber.concurrency)), "16")
          rate_per_second = try(coalesce(tostring(subscriber.rate_per_second)), "")
          timeout         = can(subscriber.timeout) ? try(coalesce(tostring(subscriber.timeout)), "") : "10s"
          backoff_is_map  = !can(subscriber.backoff) || can(keys(subscriber.backoff))
          backoff_keys    = try(keys(subscriber.backoff), [])
          backoff_min     = can(subscriber.backoff.min) ? try(coalesce(tostring(subscriber.backoff.min)), "") : "1s"
          backoff_max     = can(subscriber.backoff.max) ? try(coalesce(tostring(subscriber.backoff.max)), "") : null
        }
      ]
    }
  ]

  subscriptions = flatten([
    for event in local.events : [
      for subscriber in event.subscribers : {
        event        = event.name
        rpc          = subscriber.queue
        called       = subscriber.id
        max_attempts = subscriber.max_attempts
        rule         = local.shortened["${event.name}--${local.dashed[subscriber.queue]}"]
        queue        = local.queue_names[subscriber.queue]
        # In one spelling, so that 60s and 1m are the same policy. The default of backoff.max is 10 min, or backoff.min if that is more.
        policy = try(jsonencode([
          local.nanoseconds[subscriber.timeout],
          subscriber.concurrency,
          subscriber.rate_per_second,
          subscriber.max_attempts,
          local.nanoseconds[subscriber.backoff_min],
          try(local.nanoseconds[subscriber.backoff_max], max(local.backoff_max_default, local.nanoseconds[subscriber.backoff_min])),
        ]), "") # infinity has no JSON
      }
    ]
  ])

  # `...` because a file with duplicates must reach the check that reports them.
  by_route = { for subscription in local.subscriptions : "${subscription.event} -> ${subscription.rpc}" => subscription... }
  by_rpc   = { for subscription in local.subscriptions : subscription.rpc => subscription... }
  by_call  = { for subscription in local.subscriptions : subscription.called => subscription... }

  routes = {
    for key, same in local.by_route : key => {
      event = same[0].event
      rpc   = same[0].rpc
      rule  = same[0].rule
      queue = same[0].queue
    }
  }

  rpcs = {
    for rpc, same in local.by_rpc : rpc => {
      queue        = same[0].queue
      max_attempts = same[0].max_attempts
      routes       = sort(distinct([for subscription in same : "${subscription.event} -> ${rpc}"]))
    }
  }
}
