//! Promise 2: every committed event reaches every subscriber, or its dead-letter queue.

mod drill; // an outage of an RPC, as an operator sees it
mod faults; // processes that are killed, stopped or paused; databases that are away
mod histories; // random transactions, compared with a list in memory
mod identity; // databases that are copied, restored or upgraded
mod sequences; // sequences that were set back or not copied
mod settings; // settings of the database
mod stopping; // a planned stop: what is finished, and what is given back
mod twice; // delivery numbers that were drawn twice
