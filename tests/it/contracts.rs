//! The contracts of every seam between the product and its stores: one suite for every implementation. Promise 3 depends on
//! the record.

mod bus; // an event on the bus arrives as a message
mod dedup; // one winner at a time, and done is final
mod operate; // an operator's questions and repairs
mod queue; // received once, hidden, extended, settled

pub(crate) use bus::bus_contract;
pub(crate) use dedup::{dedup_contract, failed, lost_of, release};
pub(crate) use queue::{queue_contract, receive, settle};
