//! Everything that Outbox stores on AWS, and every request that reads or writes it: EventBridge's entries, SQS's messages,
//! DynamoDB's items.

pub mod operate; // an operator's questions and repairs

mod config; // region, credentials and endpoints
mod dynamodb; // the dedup record, and the roster of workers
mod eventbridge; // the bus
mod failure; // AWS's errors
mod sqs; // queues and dead-letter queues

pub use config::{Missing, config, missing, say_what_is_missing, with_attempt_timeout};
pub use dynamodb::{BrakesItem, DynamoDedup, Entry, ProcessItem, Roster, may_complete_batches};
pub use eventbridge::EventBridge;
pub use failure::{Failure, is_away};
pub use sqs::{SqsQueue, SqsReceipt};
