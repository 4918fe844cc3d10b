//! The line on AWS: EventBridge, SQS and DynamoDB, made by Terraform on a local stand-in; and a stand-in of our own for the
//! days that it knows nothing of.

mod batches; // many records a request, each by itself
mod bus; // what PutEvents answers -> what happens to an event
mod desk; // the line as an operator sees it
mod doctor; // what is missing, and what differs from the routes
mod limits; // what of AWS's limits is enforced here, and by whom
mod line; // from enqueue to RPC
mod operate; // the operator's commands
mod played; // queue and table, played by the stub
mod queue; // contracts of queue and dedup
mod records; // records on DynamoDB, told by `why`
mod strict; // what AWS refuses, and what the worker does then
mod terraform; // the module by itself
mod worker; // what the worker costs, and what it does when AWS does not
