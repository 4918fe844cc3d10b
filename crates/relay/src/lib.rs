//! Outbox to bus: one leader per database reads what was committed and puts it on the bus, in order of key.
//!
//! Read [`relay`] first.

pub mod bus; // the two shapes of a bus
pub mod config;
pub mod relay;

mod idle; // when to read on, poll or sleep
mod progress; // what a relay shows of itself
mod put; // bounded concurrent puts that keep each key's order
mod settle; // results -> how far the cursor may go
mod trace; // a put is a span
