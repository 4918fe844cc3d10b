//! Everything that Outbox stores in Postgres, and every statement that reads or writes it: the outbox and its cursor, the
//! queues, the dedup record, the rings that turn under them.

pub mod leader; // one relay per database does the work
pub mod operate; // what an operator asks and repairs
pub mod outbox; // what is new, and how far the relay has come
pub mod queue; // a log for each RPC, and what failed
pub mod retention; // rings turn, slots are truncated

mod bus; // routes, applied within the database's transaction
mod connections;
#[cfg(feature = "args")]
mod databases;
mod dedup; // leases, and what was done
mod doorbell; // how a sleeping relay is woken
mod failed; // why a statement could not write
mod low_water;
mod metrics; // what stands in the database
mod session;
mod source;

pub use bus::{Deliveries, PostgresBus};
pub use connections::{Connections, Loan};
#[cfg(feature = "args")]
pub use databases::databases;
pub use dedup::PostgresDedup;
pub use doorbell::Doorbell;
pub use low_water::LowWater;
pub use session::SESSION;
pub use source::{Source, SourceError, interval, timed_out, within, within_time};
