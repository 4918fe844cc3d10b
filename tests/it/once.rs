//! Promise 3: after an RPC has succeeded for an event, it is not called again for that event. Every test checks that at its
//! end, too, in `World::finish`. `contracts` has the contract of the records.

mod copies; // several copies of one message
mod meeting; // statements that meet at the same records
mod moved; // an RPC in another package
mod receipts; // the record of a batch, beside the rows of single deliveries
mod records; // how long a record is kept, and what its removal costs
