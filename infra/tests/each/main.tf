# Every file of a folder goes through the router, in one plan. A mistake in a file is an error that begins with the file's name.
# tests/it/deployed/routers.rs compares that with the verdicts of the binaries.

variable "folder" {
  description = "Where the files are."
  type        = string
}

locals {
  files    = fileset(var.folder, "**/*.yaml")
  readable = [for name in local.files : name if can(file("${var.folder}/${name}"))]
}

module "router" {
  source   = "../../router"
  for_each = toset(local.readable)

  text = file("${var.folder}/${each.value}")
  file = each.value
}

# The root of the module reads its file by file(), too, and fails there.
output "readable" {
  description = "Files that are text."
  value       = local.readable

  precondition {
    condition     = length(local.readable) == length(local.files)
    error_message = join("\n", [for name in setsubtract(local.files, local.readable) : "${name} can't be routed: it is not UTF-8"])
  }
}
