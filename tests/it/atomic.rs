//! Promise 1: the event exists if and only if the transaction commits.

mod clients; // publishers in TypeScript, Python and Go
mod examples; // each example of the publisher's library, run as a program
mod payloads; // payloads that enqueue refuses, in SQL and in Rust alike
mod publish; // the publisher's API, in Rust and in SQL
mod stacks; // one suite for sqlx, tokio-postgres, diesel, SeaORM and any other driver
mod test_kit; // what the library gives to a service's own tests
mod two_phase; // transactions that end in PREPARE TRANSACTION
