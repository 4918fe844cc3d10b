//! Queue to RPC: every delivery is called, once as far as can be, and what the RPC answers decides what happens next.
//!
//! Read [`lane`] first.

#[cfg(feature = "aws")]
pub mod aws;
pub mod config;
pub mod embedded;
pub mod lane;

mod aside; // what is dead and can't be put away
mod ask; // what is asked of the queue next
pub mod breaker; // when nothing is called, or nothing dead-lettered
mod codes; // the table: what a code means
pub mod dedup; // was it done before, and is somebody on it
mod depths; // how full the queues are
mod fate; // what becomes of a delivery, called or not
mod flight; // what is under way stays hidden
mod meter; // what a lane shows of itself
pub mod queue; // where deliveries come from
mod rate; // no more calls than an RPC wants
mod receiver; // how deliveries come in
pub mod rpc; // the call
mod settler; // verdicts -> records, in batches
mod unrecorded; // what succeeded, while the record can't be written
pub mod verdict; // what the RPC answered -> what happens
mod word; // a person's word about a hold

pub use aside::Aside;
pub use lane::Lane;
pub use meter::Meter;
pub use outbox_transport::{Kind, Unsettled};
pub use unrecorded::Unrecorded;
