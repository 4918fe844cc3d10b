//! Promise 2: every committed event reaches every subscriber, or its dead-letter queue.

mod drill; // an outage, as operators live through it
mod faults; // processes killed, stopped and paused; databases gone
mod histories; // random transactions, against a list in memory
mod identity; // databases that are copied, restored and upgraded
mod sequences; // sequences that were set back, or left behind
mod settings; // whatever the database's settings are
mod stopping; // a planned stop: what is finished, and what is given back
mod twice; // numbers that were dealt twice
