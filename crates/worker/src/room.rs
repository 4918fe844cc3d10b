//! The slots for the calls of one RPC. While a consumer that was replaced finishes its calls, the next one takes from them, too.

use std::sync::Arc;

use outbox_runtime::Guarded;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    /// How many there are, free or taken.
    all: Guarded<usize>,
}

impl Default for Room {
    /// Without slots, until the first [`Room::resize`].
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(0)), all: Guarded::default() }
    }
}

impl Room {
    /// Makes or removes slots. What is taken can't be removed before it is free again: see [`Room::keeps`].
    pub(crate) fn resize(&self, wanted: impl FnOnce() -> usize) {
        let mut all = self.all.lock();
        let wanted = wanted();
        if *all < wanted {
            self.free.add_permits(wanted - *all);
            *all = wanted;
        } else {
            *all -= self.free.forget_permits(*all - wanted);
        }
    }

    /// A free slot. `None` cannot happen, because the semaphore is never closed.
    pub(crate) async fn acquire(&self, wanted: impl Fn() -> usize) -> Option<OwnedSemaphorePermit> {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
            if let Some(permit) = self.keeps(permit, &wanted) {
                return Some(permit);
            }
        }
    }

    /// A slot that is free now. `Err` if there is none; `Ok(None)` if there was one too many.
    pub(crate) fn try_acquire(
        &self,
        wanted: impl FnOnce() -> usize,
    ) -> Result<Option<OwnedSemaphorePermit>, tokio::sync::TryAcquireError> {
        let permit = Arc::clone(&self.free).try_acquire_owned()?;
        Ok(self.keeps(permit, wanted))
    }

    /// Whether a slot that is free again may be used. If there are too many, it is removed.
    fn keeps(
        &self,
        permit: OwnedSemaphorePermit,
        wanted: impl FnOnce() -> usize,
    ) -> Option<OwnedSemaphorePermit> {
        let mut all = self.all.lock();
        if *all <= wanted() {
            return Some(permit);
        }
        *all -= 1;
        permit.forget();
        None
    }
}
