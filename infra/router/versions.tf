# No provider, so routes can be planned and tested without AWS.
terraform {
  required_version = ">= 1.6"
}
