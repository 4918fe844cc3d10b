# "Was this event done by this RPC?" One small item per delivery, found by one key, gone by itself after the dedup window.
resource "aws_dynamodb_table" "dedup" {
  name         = "${var.name}-dedup"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id" # event and RPC, so that writes spread evenly

  attribute {
    name = "id"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at" # epoch seconds; DynamoDB may be days late, so the worker looks at it, too
    enabled        = true
  }

  # A table is always encrypted. Without this block with a key that DynamoDB owns; with it and no key, with one that costs.
  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags
}
