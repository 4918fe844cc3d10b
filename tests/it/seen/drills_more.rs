//! Incidents on a line of processes with a role each: the product names the cause, and a command that it prints repairs it.
//!
//! Each prints how long it took until the product named the cause. None asserts it.

mod brakes; // 17, 18: an RPC is paused, and gets other limits
mod clocks; // 22: wrong clocks
mod draining; // 19: a worker with long calls is drained
mod line; // what each drill begins with
mod passwords; // 20: passwords are changed
mod past; // 14, 15, 16: events of the past are sent, explained and found
mod retired; // 12, 13: an RPC is removed or renamed
mod tenants; // 21: one tenant's events fill a queue
