//! Queue to RPC: every delivery is called, once as far as can be, and what the RPC answers decides what happens next.
//!
//! Read [`consumer`] first.

#[cfg(feature = "aws")]
pub mod aws;
pub mod config;
pub mod consumer;
pub mod postgres;

mod aside; // what is dead and can't be put away
mod ask; // what is asked of the queue next
mod breaker; // when nothing is called, or nothing dead-lettered
mod circuit; // the breaker, as the stages share it
mod codes; // the table: what a code means
mod decide; // what the RPC answered -> what becomes of the delivery
mod deliver; // one delivery, from its body to its outcome
mod in_flight; // what is under way stays hidden
mod lease; // the right to call
mod metrics; // what a consumer shows of itself
mod rate; // no more calls than an RPC wants
mod receive; // how deliveries come in
pub mod rpc; // the call
mod settle; // outcomes -> records, in batches
mod slots; // how many at once
mod subscriber; // one RPC, and what outlives its consumers
mod supervise; // a consumer that panicked is followed by another
mod unrecorded; // what succeeded, while the record can't be written

pub use consumer::Consumer;
pub use subscriber::Subscriber;
