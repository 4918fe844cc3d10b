//! Everything that Outbox stores in Postgres, and every statement that reads or writes it: the outbox and its cursor, the
//! queues, the dedup record, and the rings of their tables.

pub mod leader; // one relay per database does the work
pub mod names; // of events, known and unknown
pub mod operate; // an operator's questions and repairs
pub mod outbox; // new events, and the cursor
pub mod queue; // each RPC's log, retries and dead letters
pub mod retention; // rings turn, slots are truncated

mod beside; // small regular statements
mod budget;
mod bus; // routes, applied within the database's transaction
mod connections;
#[cfg(feature = "args")]
mod databases;
mod dedup; // leases and successes
mod doorbell; // wakes a sleeping relay
mod failed; // why a statement could not write
mod from_row; // reads a struct by the names of columns
mod listening; // a session that waits for notifications, and is lent
mod low_water;
mod metrics; // the state of the database
mod process; // the row of this process
mod publish; // events from the command line
mod session;
mod source;

pub use beside::Beside;
pub use budget::{Budget, relay_connections, worker_connections};
pub use bus::{Deliveries, PostgresBus};
pub use connections::{Connections, Loan};
#[cfg(feature = "args")]
pub use databases::databases;
pub use dedup::PostgresDedup;
pub use doorbell::Doorbell;
pub use listening::{Lent, Listening};
pub use low_water::LowWater;
pub use process::ProcessRow;
pub use publish::{NewEvent, publish};
pub use session::SESSION;
pub use source::{Source, SourceError, interval, timed_out, within, within_time};
