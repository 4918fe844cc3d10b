//! An operator's questions and repairs in one database.

mod database; // connections, and the time limits of statements
mod deliveries; // the deliveries of one event
mod outbox; // events before and after their put
mod past; // failed attempts and repairs of an event
mod processes; // relays and workers
mod queues; // queues, dead letters and the audit
mod search; // finds a time in a log

pub use database::Database;
pub use outbox::{
    Backlog, Behind, Cursor, Dropped, Holder, Leader, Outbox, Parked, ParkedFilter, Putting, Span, Stored,
    StuckRing, Transaction, UnknownEvent, time_of,
};
pub use queues::PostgresOperator;
pub use search::Seqs;
