# What is wrong with the text itself. Terraform's reader of YAML drops the first of two equal keys and the way a number was
# written, and an alias of aliases of aliases would never end: so spelling.yaml is asked first, as it is by the binaries.

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
    flatten([
      for rule in local.spelling.rules : [
        for key in try(rule.keys, [""]) : "${replace(rule.says, "KEY", key)}: ${rule.hint}"
        if can(regex(replace(rule.pattern, "KEY", key), rule.in == "text" ? local.without_mark : local.bare))
      ]
      if local.aliases > 0 || !try(rule.aliases, false)
    ]),
  )

  # In a file with another mistake this one would say the same once more.
  spelling_findings = length(local.text_findings) > 0 || can(regex(local.whole, local.bare)) ? local.text_findings : [
    "${local.spelling.says}: ${local.spelling.hint}",
  ]

  # What is decoded is small, and no alias stands in what another one repeats.
  is_decodable = length(base64encode(var.text)) <= local.spelling.bytes_max / 3 * 4 && (local.aliases == 0 || length(local.spelling_findings) == 0)
}
