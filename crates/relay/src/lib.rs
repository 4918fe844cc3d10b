//! Outbox to bus: one leader per database reads what was committed and puts it on the bus, in order of key.
//!
//! Read [`relay`] first.

pub mod config;
pub mod relay;

mod appetite; // how much one statement asks for
mod doorbell; // how a sleeping relay is woken
mod leader; // one relay per database does the work
mod observe; // what stands in the database
mod outbox; // the window reader and the cursor: all SQL of the outbox table
mod progress; // what a relay shows of itself
mod put; // bounded concurrent puts that keep each key's order
mod retention; // rings turn, slots are truncated
mod rhythm; // when to read on, linger or sleep
mod settle; // results -> how far the cursor may go
mod trace; // a put is a span

pub mod bus;

pub use crate::outbox::Entry;
