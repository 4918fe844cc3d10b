//! One leader per database reads committed events and puts them on the bus, in the order of each key.
//!
//! Read [`relay`] first.

pub mod bus; // the two shapes of a bus
pub mod config;
pub mod relay;

mod idle; // when to read on, poll or sleep
mod metrics; // metrics, and the entry in /readyz
mod names; // names of events that are not known
mod process; // the report of this relay
mod put; // bounded concurrent puts that keep the order of each key
mod settle; // results -> how far the cursor may go
mod standby; // until this relay leads
mod term_error;
mod trace; // a put is a span
