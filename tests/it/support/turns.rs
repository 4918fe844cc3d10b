//! Turns: tests that measure have the machine to themselves, the others share it.

use std::sync::OnceLock;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that measure have the machine to themselves.
pub(crate) enum Turn {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
    /// Of another world of the same test: a second turn would wait for the first to end.
    Theirs,
}

pub(crate) fn turns() -> &'static RwLock<()> {
    static TURNS: OnceLock<RwLock<()>> = OnceLock::new();
    TURNS.get_or_init(RwLock::default)
}

/// The turn of a test that needs no world, and should not disturb one that measures.
pub(crate) fn shared_turn() -> RwLockReadGuard<'static, ()> {
    turns().blocking_read()
}
