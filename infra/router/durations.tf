# Durations are the worker's business; here they are only compared, to find an RPC that has two policies. What is no
# duration stays the text it is, and `outbox check` says so.

locals {
  unit_milliseconds = {
    ns = 0.000001, nsec = 0.000001, us = 0.001, usec = 0.001, ms = 1, msec = 1, millis = 1,
    s  = 1000, sec = 1000, secs = 1000, second = 1000, seconds = 1000,
    m  = 60000, min = 60000, mins = 60000, minute = 60000, minutes = 60000,
    h  = 3600000, hr = 3600000, hrs = 3600000, hour = 3600000, hours = 3600000,
  }

  milliseconds = {
    for text in distinct(flatten([
      for event in local.events : [
        for subscriber in event.subscribers : [subscriber.timeout, subscriber.backoff_min, subscriber.backoff_max]
      ]
    ])) :
    text => try(
      tostring(sum([for part in regexall("([0-9]+)\\s*([a-zA-Z]+)", text) : part[0] * local.unit_milliseconds[part[1]]])),
      text,
    )
  }
}
