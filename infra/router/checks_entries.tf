# The mistakes in a single event or subscriber.

locals {
  event_name_chars_max = 128 # of a detail-type
  rpc_id_chars_max     = 256
  max_attempts_max     = 100
  concurrency_max      = 1000
  rate_per_second_max  = 10000

  # In nanoseconds, as durations are compared: 10 ms, 15 min; 1 ms, 10 min, 12 h.
  timeout_min         = 10000000
  timeout_max         = 900000000000
  backoff_least       = 1000000
  backoff_max_default = 600000000000
  backoff_most        = 43200000000000

  event_name_pattern = "^[a-z][a-z0-9_]*$"
  package_pattern    = "^([A-Za-z_][A-Za-z0-9_]*\\.)*[A-Za-z_][A-Za-z0-9_]*$"
  rpc_id_pattern     = "^([A-Za-z_][A-Za-z0-9_]*\\.)*[A-Za-z_][A-Za-z0-9_]*/[A-Za-z_][A-Za-z0-9_]*$"

  event_keys      = ["name", "package", "subscriber"]
  subscriber_keys = ["id", "queue", "timeout", "concurrency", "rate_per_second", "max_attempts", "backoff"]
  backoff_keys    = ["min", "max"]

  event_findings = flatten([
    for event in local.events : !event.is_map ? ["${event.label} is not a map: write name: 'event_hoge_updated' and subscriber: []"] : concat(
      [
        for key in setsubtract(event.keys, local.event_keys) :
        "unknown key `${key}` in ${event.label}: known here are `name`, `package` and `subscriber`"
      ],
      !event.name_is_text || event.name == "" ? [
        "${event.label} has no `name` that is a text: add name: 'event_hoge_updated'",
        ] : length(event.name) > local.event_name_chars_max ? [
        "${event.label} has ${length(event.name)} characters: shorten it, in proto and here, to at most ${local.event_name_chars_max}",
        ] : !can(regex(local.event_name_pattern, event.name)) ? [
        "${event.label} is not lower_snake_case: write it like 'event_hoge_updated'",
      ] : [],
      event.package_is_valid ? [] : [
        "`package` of ${event.label} is not a package of proto: write package: 'acme.card.v1'",
      ],
      event.subscriber_is_list ? [] : [
        "${event.label} has no list `subscriber`: list the RPCs that run, or write subscriber: [] for none yet",
      ],
    )
  ])

  subscriber_findings = flatten([
    for event in local.events : [
      for subscriber in event.subscribers : concat(
        !subscriber.is_map ? [
          "${subscriber.label} of ${event.label} is not a map: write id: 'NotificationService/NotifyHogeUpdated'",
          ] : !subscriber.id_is_text || length(subscriber.id) > local.rpc_id_chars_max || !can(regex(local.rpc_id_pattern, subscriber.id)) ? [
          "${subscriber.label} of ${event.label} does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
          ] : !subscriber.queue_is_text || length(subscriber.queue) > local.rpc_id_chars_max || !can(regex(local.rpc_id_pattern, subscriber.queue)) ? [
          "`queue` of ${subscriber.label} in ${event.label} does not name a queue: write queue: 'Service/Method', as its RPC was called before",
        ] : [],
        [
          for key in setsubtract(subscriber.keys, local.subscriber_keys) :
          "unknown key `${key}` of ${subscriber.label} in ${event.label}: known here are `id`, `queue`, `timeout`, `concurrency`, `rate_per_second`, `max_attempts` and `backoff`"
        ],
        subscriber.backoff_is_map ? [] : [
          "`backoff` of ${subscriber.label} in ${event.label} is not a map: write backoff: { min: 1s, max: 10m }",
        ],
        [
          for key in setsubtract(subscriber.backoff_keys, local.backoff_keys) :
          "unknown key `${key}` in `backoff` of ${subscriber.label} in ${event.label}: known here are `min` and `max`"
        ],
        subscriber.max_attempts_is_valid ? [] : [
          "`max_attempts` of ${subscriber.label} in ${event.label} is not a whole number from 1 to ${local.max_attempts_max}: for example max_attempts: 20",
        ],
        subscriber.concurrency_is_valid ? [] : [
          "`concurrency` of ${subscriber.label} in ${event.label} is not a whole number from 1 to ${local.concurrency_max}: for example concurrency: 8",
        ],
        subscriber.rate_is_valid ? [] : [
          "`rate_per_second` of ${subscriber.label} in ${event.label} is not a whole number from 1 to ${local.rate_per_second_max}: for example rate_per_second: 8",
        ],
        local.nanoseconds[subscriber.timeout] >= local.timeout_min && local.nanoseconds[subscriber.timeout] <= local.timeout_max ? [] : [
          "`timeout` of ${subscriber.label} in ${event.label} is not a duration from 10ms to 15m: write a number and its unit, for example timeout: 10s",
        ],
        [
          for key, text in { min = subscriber.backoff_min, max = coalesce(subscriber.backoff_max == "" ? "none" : subscriber.backoff_max, "10m") } :
          "`${key}` in `backoff` of ${subscriber.label} in ${event.label} is not a duration from 1ms to 12h: write a number and its unit, for example ${key}: 10s"
          if try(local.nanoseconds[text], -1) < local.backoff_least && !(key == "max" && subscriber.backoff_max == null) || try(local.nanoseconds[text], 0) > local.backoff_most
        ],
        subscriber.backoff_max == null || try(local.nanoseconds[subscriber.backoff_min] <= local.nanoseconds[subscriber.backoff_max], true) ? [] : [
          "`backoff` of ${subscriber.label} in ${event.label} begins longer than it may become: make min smaller than max",
        ],
      )
    ]
  ])
}
