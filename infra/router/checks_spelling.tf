# The mistakes in the text itself. Terraform's reader of YAML drops the first of two equal keys and the spelling of a number, and an
# alias of aliases of aliases would never end. So spelling.yaml is applied first, as the binaries do.

locals {
  spelling = yamldecode(file("${path.module}/spelling.yaml"))

  without_mark = trimprefix(var.text, "\ufeff")
  bare         = replace(local.without_mark, "/#[^\\n]*/", "")
  aliases      = length(regexall("[*]", local.bare))
  whole        = replace(replace(join("", local.spelling.whole), "KEYS", local.spelling.keys), "UNITS", local.spelling.units)

  text_findings = concat(
    length(base64encode(var.text)) <= local.spelling.bytes_max / 3 * 4 ? [] : [
      "the file has more than ${local.spelling.bytes_max} bytes: divide it into several buses",
    ],
    local.aliases <= local.spelling.aliases_max ? [] : [
      "aliases are used ${local.aliases} times; at most ${local.spelling.aliases_max}: write some of them out",
    ],
    [
      for rule in local.spelling.rules : "${rule.says}: ${rule.hint}"
      if can(regex(rule.pattern, rule.in == "text" ? local.without_mark : local.bare)) && (local.aliases > 0 || !try(rule.aliases, false))
    ],
  )

  # Of two equal keys yamldecode() keeps the last. So the keys of the text and the keys of the decoded value are counted. Each alias is
  # replaced by a word, because it would repeat the keys of its anchor.
  unaliased = try([for text in [local.bare] : yamldecode(replace(text, "/[*][A-Za-z0-9_]+/", "alias")) if length(local.text_findings) == 0][0], null)
  kept_keys = concat(
    try(keys(local.unaliased), []),
    flatten([
      for event in try([for event in local.unaliased.event : event], []) : concat(
        try(keys(event), []),
        flatten([
          for subscriber in try([for subscriber in event.subscriber : subscriber], []) : concat(
            try(keys(subscriber), []),
            try(keys(subscriber.backoff), []),
          )
        ]),
      )
    ]),
  )
  lost_keys = [
    for key in split("|", local.spelling.keys) : key
    if length(regexall("(?:^|[^a-z_])${key}['\"]?:", local.bare)) > length([for kept in local.kept_keys : kept if kept == key])
  ]

  # In a file with another mistake these would report the same mistake again.
  spelling_findings = length(local.text_findings) > 0 ? local.text_findings : concat(
    can(regex(local.whole, local.bare)) ? [] : ["${local.spelling.says}: ${local.spelling.hint}"],
    !can(regex(local.whole, local.bare)) ? [] : [
      for key in local.lost_keys : "`${key}` is written twice in one map: keep one of them, some readers take the first, others the last"
    ],
  )

  # The decoded text is small, and no anchor holds an alias.
  is_decodable = length(base64encode(var.text)) <= local.spelling.bytes_max / 3 * 4 && (local.aliases == 0 || length(local.spelling_findings) == 0)
}
