//! Incidents on a running line, each named by `status`, explained by `why`, seen by an alert, and repaired by a command that was
//! printed. All of it with the role that is documented for operators.

pub(crate) mod desk; // the line, the operator, and the clock

mod database; // transactions that stay open, a restart, and a full disk
mod deployment; // processes that lack an address, a route or a worker
mod poison; // events that are refused, fail for ever, or all at once
mod redrives; // redrives of two operators, and of the wrong letters
mod servers; // servers that are away, elsewhere or slow
