//! An operator's questions and repairs in one database.

mod audit; // who repaired what
mod brakes; // pauses and limits of RPCs
mod database; // connections, and the time limits of statements
mod deliveries; // the deliveries of one event
mod letters; // how dead letters are read
mod outbox; // events before and after their put
mod pace; // the rate of a repair
mod past; // failed attempts and repairs of an event
mod processes; // relays and workers
mod queues; // queues and dead letters
mod repairs; // repairs of many things: seen, stopped and taken back
mod retire; // queues that are moved or removed
mod search; // finds a time in a log
mod waiting; // messages in queues

pub use database::{Database, Role};
pub use outbox::{
    Backlog, Behind, Cursor, Dropped, Found, Holder, Leader, Outbox, Parked, ParkedFilter, Putting, Span,
    Stored, StuckRing, Transaction, UnknownEvent, time_of,
};
pub use queues::PostgresOperator;
pub use search::Seqs;
