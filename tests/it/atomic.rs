//! Promise 1: the event exists if and only if the transaction commits.

mod examples; // the publisher's library by example, each started as a program
mod payloads; // what is refused at enqueue, in SQL and in Rust alike
mod publish; // the publisher's API, in Rust and in SQL
mod two_phase; // transactions that end in PREPARE TRANSACTION
