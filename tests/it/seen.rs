//! Promise 8: anything stuck is visible in a metric, and explained by a command.

mod dlq; // dead letters seen, redriven and dropped
mod doctor; // broken configurations
mod foreign; // an outbox that came from another server
mod goldens; // status and why, word for word, in every state
mod holds; // what holds what the relay needs
mod hostile; // names and texts of others
mod metrics; // what is scraped is what is documented, and readiness tells progress
mod ops; // rules, runbooks and dashboards, by the tools that use them
mod parked; // what the bus refused
mod repairs; // what a role that operates may do, and what is kept of it
mod replay; // the past, sent again
mod times; // times that no calendar has
mod told; // status and why, with everything in it that can be stuck
mod trace; // one trace from the change to the RPC
