//! What SECURITY.md promises: privileges, secrets, and names of other schemas.

mod inserts; // what a publisher can write past every check
mod names; // no function or operator of another schema runs
mod roles; // least privileges, with real roles
mod secrets; // what is never said
mod values; // no value in an error

pub(crate) use inserts::{bad_rows, insert_bad_rows, parked};
