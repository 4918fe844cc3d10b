//! Promise 3: after an RPC has succeeded for an event, it is not called again for that event. Every test checks that at its
//! end, too, in `World::finish`. `contracts` has the contract of the records.

mod copies; // several copies of one message
mod receipts; // the record of a batch, and how it goes with rows
mod records; // how long a record is kept, and what it costs to let it go
