# The smallest root that uses the module: the repository's own event_router.yaml on AWS, or on an emulator of it.

terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

locals {
  emulated = var.aws_endpoint != ""
}

provider "aws" {
  region = var.region

  # An emulator accepts any credentials and has no account. Null is the provider's own default: on AWS the usual chain of
  # environment, profile and role is used, and everything is checked.
  access_key                  = local.emulated ? "test" : null
  secret_key                  = local.emulated ? "test" : null
  skip_credentials_validation = local.emulated ? true : null
  skip_metadata_api_check     = local.emulated ? "true" : null
  skip_requesting_account_id  = local.emulated ? true : null
  skip_region_validation      = local.emulated ? true : null

  dynamic "endpoints" {
    for_each = local.emulated ? [var.aws_endpoint] : []
    content {
      cloudwatch = endpoints.value
      dynamodb   = endpoints.value
      events     = endpoints.value
      iam        = endpoints.value
      sqs        = endpoints.value
      sts        = endpoints.value
    }
  }
}

module "outbox" {
  source = "../"

  name        = var.name
  router_file = "${path.module}/../../event_router.yaml"

  # The resources on an emulator end with it.
  deletion_protection = !local.emulated
  alarms              = var.alarms
  archive_days        = var.archive_days
}
