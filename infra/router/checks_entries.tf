# What is wrong with an event or a subscriber by itself.

locals {
  event_name_chars_max = 128 # of a detail-type
  max_attempts_max     = 100

  event_name_pattern = "^[a-z][a-z0-9_]*$"
  rpc_id_pattern     = "^([A-Za-z_][A-Za-z0-9_]*\\.)*[A-Za-z_][A-Za-z0-9_]*/[A-Za-z_][A-Za-z0-9_]*$"

  event_keys      = ["name", "subscriber"]
  subscriber_keys = ["id", "timeout", "concurrency", "rate_per_second", "max_attempts", "backoff"]
  backoff_keys    = ["min", "max"]

  event_findings = flatten([
    for event in local.events : !event.is_map ? ["${event.label} is not a map: write name: 'event_hoge_updated' and subscriber: []"] : concat(
      [
        for key in setsubtract(event.keys, local.event_keys) :
        "unknown key `${key}` in ${event.label}: known here are `name` and `subscriber`"
      ],
      !event.name_is_text || event.name == "" ? [
        "${event.label} has no `name` that is a text: add name: 'event_hoge_updated'",
        ] : length(event.name) > local.event_name_chars_max ? [
        "${event.label} has ${length(event.name)} characters: shorten it, in proto and here, to at most ${local.event_name_chars_max}",
        ] : !can(regex(local.event_name_pattern, event.name)) ? [
        "${event.label} is not lower_snake_case: write it like 'event_hoge_updated'",
      ] : [],
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
          ] : !subscriber.id_is_text || !can(regex(local.rpc_id_pattern, subscriber.id)) ? [
          "${subscriber.label} of ${event.label} does not name an RPC: write id: 'Service/Method' or id: 'package.v1.Service/Method'",
        ] : [],
        [
          for key in setsubtract(subscriber.keys, local.subscriber_keys) :
          "unknown key `${key}` of ${subscriber.label} in ${event.label}: known here are `id`, `timeout`, `concurrency`, `rate_per_second`, `max_attempts` and `backoff`"
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
      )
    ]
  ])
}
