output "environment" {
  description = "terraform output -json environment | jq -r '.worker | to_entries[] | \"\\(.key)=\\(.value)\"'"
  value       = module.outbox.environment
}

output "queues" {
  description = "Queues by RPC."
  value       = module.outbox.queues
}

output "rules" {
  description = "Rules by route."
  value       = module.outbox.rules
}

output "policy_arns" {
  description = "Policies to attach to the roles of relay, worker and operators."
  value       = module.outbox.policy_arns
}

output "undeliverable_queue_url" {
  description = "The queue of events that EventBridge could not deliver."
  value       = module.outbox.undeliverable_queue_url
}
