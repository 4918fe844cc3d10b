//! Every seam between the product and what stores it: one suite for every implementation. Promise 3 rests on the record.

mod bus; // what goes onto the bus comes out as a message
mod dedup; // one winner at a time, and done is for good
mod operate; // what an operator asks and repairs
mod queue; // received once, hidden, extended, settled

pub(crate) use bus::bus_contract;
pub(crate) use dedup::{dedup_contract, failed, lost_of, release};
pub(crate) use queue::{queue_contract, receive, settle};
