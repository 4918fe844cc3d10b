//! Promise 3: after an RPC has succeeded for an event, it is not called again for that event. Every test checks that at its
//! end, too: `World::finish`. What records promise is the suite of `contracts`.

mod copies; // several copies of one message
mod receipts; // the record of a batch, and how it goes with rows
mod records; // how long a record is kept, and what it costs to let it go
