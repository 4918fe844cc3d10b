//! What an operator asks and repairs in one database.

mod database; // how it is reached, and how long a statement may take
mod deliveries; // what became of one event
mod outbox; // what is not put, and what was
mod queues; // queues, dead letters and the audit
mod search; // where in a log a time lies

pub use database::Database;
pub use outbox::{
    Backlog, Behind, Cursor, Holder, Leader, Outbox, Parked, ParkedFilter, Putting, Span, Stored, StuckRing,
    Transaction, time_of,
};
pub use queues::PostgresOperator;
pub use search::Seqs;
