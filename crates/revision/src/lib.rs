//! The version and the revision of the source that a binary is built from.
//!
//! A crate of its own: after a commit only it and the crates of the binaries are compiled again.

/// A git hash, what `OUTBOX_REVISION` had at the build, or `unknown`. It does not say whether files were changed after the commit.
pub const REVISION: &str = env!("OUTBOX_REVISION");

/// For `--version`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("OUTBOX_REVISION"), ")");

/// The revision, if the build knew it.
pub fn known() -> Option<&'static str> {
    Some(REVISION).filter(|revision| *revision != "unknown")
}
