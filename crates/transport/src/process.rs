//! The report of a relay or a worker: written by it to a store, and read from there by operators.

mod entry; // one process
mod five_minutes; // of one RPC
mod keep; // when it is written
mod report; // what changes while it runs

pub use entry::{Process, Program, Seen};
pub use five_minutes::FiveMinutes;
pub use keep::{Shows, Store, shown_beside};
pub use report::{
    Breaker, Duty, FailsOften, LastError, Minute, Report, RpcReport, STANDING_SECONDS, Waits, shortened,
};
