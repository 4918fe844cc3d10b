//! What SECURITY.md promises: privileges, secrets, and names of other schemas.

mod inserts; // rows that a publisher inserts without any check
mod names; // no function or operator of another schema runs
mod roles; // least privileges
mod secrets; // payloads, passwords and keys, which are never shown
mod values; // errors without values

pub(crate) use inserts::{bad_rows, insert_bad_rows, parked};
