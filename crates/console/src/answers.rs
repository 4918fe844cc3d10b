//! The answers of commands, as far as pages show them. Each field may be missing: then it is not known.

mod dead; // letters and their groups
mod event; // the history of one event
mod lately; // five minutes of an RPC
mod line; // what doctor finds, and routes
mod repairs; // repairs, and the audit
mod status;

pub(crate) use dead::{Group, Letter, Moved, Parked, Summary};
pub(crate) use event::{Delivery, Life, Meant, NotIn, Nowhere, Past, Queued, Searched};
pub(crate) use lately::{Bound, FiveMinutes, Took};
pub(crate) use line::{Finding, Report, Route};
pub(crate) use repairs::{Kept, Plan, Progress};
#[cfg(test)]
pub(crate) use status::{Brake, Serving, Transaction};
pub(crate) use status::{Differing, Problem, Process, Rpc, Source, Status};
