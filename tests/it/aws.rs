//! The transport `aws`: EventBridge, SQS and DynamoDB, made by Terraform on an emulator. A stub plays the failures that the
//! emulator does not have.

mod batches; // many records a request, each by itself
mod bus; // what PutEvents answers -> what happens to an event
mod desk; // the line as an operator sees it
mod doctor; // what is missing, and what differs from the routes
mod limits; // what of AWS's limits is enforced here, and by whom
mod line; // from enqueue to RPC
mod operate; // the operator's commands
mod played; // SQS and DynamoDB, played by the stub
mod queue; // the contracts of queue and dedup record
mod records; // records on DynamoDB, as `why` shows them
mod stored; // the contents of SQS and DynamoDB
mod strict; // what AWS refuses, and what the worker does then
mod terraform; // the module by itself
mod worker; // what the worker costs, and what it does while AWS fails
