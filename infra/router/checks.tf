# The mistakes in the file, each with its remedy. `outbox check` also reads proto, and reports lines. Everything that it and the binaries report
# about the file alone is reported here, too: tests/routers has files and the verdict of both.

locals {
  rules_max = 300 # of one bus

  # In the order of reading: the file, its entries, then the relations between entries.
  entry_findings = concat(
    local.file_findings,
    local.event_findings,
    local.subscriber_findings,
    local.duplicate_findings,
    local.name_findings,
  )

  # A mistake in an entry says more than a mistake in its spelling.
  findings = distinct(local.is_decodable && length(local.entry_findings) > 0 ? local.entry_findings : local.spelling_findings)

  file_findings = !local.is_yaml ? ["this is not valid YAML: indent with spaces, and quote names: name: 'event_hoge_updated'"] : concat(
    can(keys(local.document)) ? [] : ["the file is not a map: begin with `event:` and a list of events below it"],
    [
      for key in try(keys(local.document), []) :
      "unknown key `${key}` in the file: known here is `event`"
      if key != "event"
    ],
    !can(keys(local.document)) || local.event_is_list ? [] : [
      "`event` is not a list: begin each entry with a dash: - name: 'event_hoge_updated'",
    ],
  )

  duplicate_findings = concat(
    [
      for name, same in { for event in local.events : event.name => event... } :
      "event '${name}' is listed ${length(same)} times: put all its subscribers in one list"
      if length(same) > 1 && name != ""
    ],
    [
      for same in values(local.by_route) :
      "'${same[0].rpc}' subscribes to '${same[0].event}' ${length(same)} times: leave one of them"
      if length(same) > 1 && same[0].rpc != ""
    ],
    [
      for rpc, same in local.by_rpc :
      "the queue '${rpc}' is that of ${join(" and ", distinct(same[*].called))}: a queue calls one RPC, write the same `id` in every place, or another `queue`"
      if length(distinct(same[*].called)) > 1 && rpc != ""
    ],
    [
      for called, same in local.by_call :
      "'${called}' has the queues ${join(" and ", distinct(same[*].rpc))}: an RPC has one queue, write the same `queue` in every place"
      if length(distinct(same[*].rpc)) > 1 && called != ""
    ],
    [
      for rpc, same in local.by_rpc :
      "'${rpc}' has different delivery policies: an RPC has one queue and one policy, write the same in every place"
      if length(distinct(same[*].policy)) > 1 && rpc != ""
    ],
  )

  name_findings = concat(
    length(local.routes) <= local.rules_max ? [] : [
      "${length(local.routes)} subscriptions need as many rules, and one bus has at most ${local.rules_max}: divide the file into several buses",
    ],
    [
      for rule, keys in { for key, same in local.by_route : same[0].rule => key... } :
      "${join(" and ", keys)} would share the rule name '${rule}': rename one of the RPCs"
      if length(keys) > 1
    ],
    [
      for queue, rpcs in { for rpc, same in local.by_rpc : same[0].queue => rpc... } :
      "${join(" and ", rpcs)} would share the queue name '${queue}': rename one of the RPCs"
      if length(rpcs) > 1
    ],
  )
}
