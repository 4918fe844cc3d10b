//! What SECURITY.md says: privileges, secrets, and names of others.

mod names; // no function or operator of another schema runs
mod roles; // least privileges, with real roles
mod secrets; // what is never said
mod values; // no value in an error
