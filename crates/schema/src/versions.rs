//! The versions that this build knows.

/// The version of the schema that this build reads and writes.
pub const VERSION: i64 = 11;

/// The oldest PostgreSQL that is supported: every newer one is tested.
pub const SERVER_MIN: i32 = 14;
