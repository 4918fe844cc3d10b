//! What SECURITY.md promises: privileges, secrets, and names of other schemas.

mod names; // no function or operator of another schema runs
mod roles; // least privileges
mod secrets; // payloads, passwords and keys, which are never shown
mod values; // errors without values
