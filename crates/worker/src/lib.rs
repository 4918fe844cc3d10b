//! Queue to RPC: every delivery is called, once if possible, and the RPC's answer decides what happens next.
//!
//! Read [`consumer`] first.

#[cfg(feature = "aws")]
pub mod aws;
pub mod config;
pub mod consumer;
pub mod plan;
pub mod postgres;

mod aside; // dead deliveries that the dead-letter queue refuses
mod ask; // what to request from the queue next
mod brake; // what an operator's pause or limit means
mod braking; // follows what operators set
mod breaker; // when nothing is called, or nothing dead-lettered
mod calls; // the calls of the last minute
mod circuit; // the breaker, which the stages share
mod codes; // the table: what a code means
mod decide; // the RPC's answer -> what becomes of the delivery
mod deliver; // one delivery, from its body to its outcome
mod duty; // whether a consumer receives, rests or helps
mod in_flight; // keeps deliveries under way hidden
mod lease; // requests leases
mod metrics; // metrics of a consumer and its queue
mod pace; // how soon to try again, on a developer's machine
mod process; // the report of this worker
mod ramp; // few calls after an outage
mod rate; // limits the calls per second
mod receive; // receives deliveries
mod room; // the slots of one RPC, which its consumers share
pub mod rpc; // the call
mod served; // the RPCs that are served, and their consumers
mod settle; // outcomes -> records, in batches
mod slots; // limits the concurrent calls
mod subscriber; // one RPC, and the state that outlives its consumers
mod supervise; // starts a consumer again after a panic
mod unrecorded; // successes whose record is not written yet
#[cfg(feature = "aws")]
mod watch; // decides which worker watches which queue

pub use consumer::Consumer;
pub use pace::Pace;
pub use subscriber::Subscriber;
