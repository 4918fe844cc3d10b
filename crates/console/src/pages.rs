//! One file for each page. Pure: everything is answered by now.

pub(crate) mod audit;
pub(crate) mod customer; // what became of an event, for others
pub(crate) mod dead; // groups
pub(crate) mod drop; // with what it would take away
pub(crate) mod event; // the history of one event
pub(crate) mod events; // by key, name or header
pub(crate) mod hands; // of single messages
pub(crate) mod lately; // five minutes of an RPC
pub(crate) mod letter;
pub(crate) mod line; // processes, and what doctor finds
pub(crate) mod map; // from events to RPCs
pub(crate) mod now;
pub(crate) mod outcome; // of a form
pub(crate) mod parked;
pub(crate) mod payload; // of one letter
pub(crate) mod redrive; // counted before it begins
pub(crate) mod remedy; // from a problem to a page
pub(crate) mod repairs;
pub(crate) mod replay; // planned before it begins
pub(crate) mod routes;
pub(crate) mod rpc;
pub(crate) mod spark; // a series as a line
pub(crate) mod timeline; // of an event's deliveries
pub(crate) mod week; // seven days of an RPC
