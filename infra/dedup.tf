# Whether an RPC has succeeded for an event: one small item per delivery, read by one key, deleted by itself after the dedup
# window.
resource "aws_dynamodb_table" "dedup" {
  name         = "${var.name}-dedup"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id" # event and RPC, so that writes spread evenly

  attribute {
    name = "id"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at" # epoch seconds; DynamoDB may delete days later, so the worker checks it, too
    enabled        = true
  }

  # A table is always encrypted. Without this block the key is DynamoDB's own. With this block and no key, the key costs money.
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
