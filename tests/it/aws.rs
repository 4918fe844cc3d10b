//! The transport `aws`: EventBridge, SQS and DynamoDB, made by Terraform on an emulator. A stub plays the failures that the
//! emulator does not have.

mod batches; // many records in one request, each with its own result
mod bus; // each answer of PutEvents, and what it does to an event
mod case; // a relay, a worker, and an RPC that refuses
mod console; // the pages, with and without the database
mod desk; // commands and processes on AWS, with or without the database
mod doctor; // resources that are missing, or differ from the routes
mod drills; // incidents, from the first word to the repair
mod end_to_end; // from enqueue to RPC
mod history; // what is kept of failed attempts, and its cost
mod limits; // which of AWS's limits the tests enforce
mod operate; // the operator's commands
mod played; // SQS and DynamoDB, played by the stub
mod queue; // the contracts of queue and dedup record
mod records; // records on DynamoDB, as `why` shows them
mod stored; // the contents of SQS and DynamoDB
mod strict; // what AWS refuses, and what the worker does then
mod terraform; // the module by itself
mod watching; // one worker for each quiet queue, and its replacement
mod worker; // what the worker costs, and what it does while AWS fails
