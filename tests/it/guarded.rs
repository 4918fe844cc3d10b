//! What SECURITY.md promises: privileges, secrets, and names of other schemas.

mod console; // what its pages show, and to whom
mod inserts; // rows that a publisher inserts without any check
mod names; // no function or operator of another schema runs
mod roles; // least privileges
mod secrets; // payloads, passwords and keys, which are never shown
mod values; // errors without values
mod viewer; // a role that can neither change anything nor see a payload

pub(crate) use inserts::{bad_rows, insert_bad_rows, parked};
