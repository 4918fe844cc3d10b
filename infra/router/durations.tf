# A duration is whole numbers with their units, as the binaries read it. It becomes nanoseconds, which HCL computes exactly.

locals {
  unit_nanoseconds = {
    nanos   = 1, nsec = 1, ns = 1,
    usec    = 1000, us = 1000,
    millis  = 1000000, msec = 1000000, ms = 1000000,
    seconds = 1000000000, second = 1000000000, secs = 1000000000, sec = 1000000000, s = 1000000000,
    minutes = 60000000000, minute = 60000000000, mins = 60000000000, min = 60000000000, m = 60000000000,
    hours   = 3600000000000, hour = 3600000000000, hrs = 3600000000000, hr = 3600000000000, h = 3600000000000,
  }

  # A text that is not a duration becomes -1.
  nanoseconds = {
    for text in distinct(flatten([
      for event in local.events : [
        for subscriber in event.subscribers : [
          for value in [subscriber.timeout, subscriber.backoff_min, subscriber.backoff_max] : value if can(regex("", value))
        ]
      ]
    ])) :
    text => try(
      regex("^[0-9]{1,9} *[a-z]+(?: *[0-9]{1,9} *[a-z]+)* *$", text) == text
      ? sum([for part in regexall("([0-9]+) *([a-z]+)", text) : part[0] * local.unit_nanoseconds[part[1]]]) : -1,
      -1,
    )
  }
}
