use std::sync::{Mutex, MutexGuard};

/// A mutex that is held only for a moment. No code panics while holding it, so it is never poisoned.
#[derive(Debug, Default)]
pub struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// The guard must not be held across an await.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no panic while held")
    }
}
