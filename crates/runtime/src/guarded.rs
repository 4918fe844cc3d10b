use std::sync::{Mutex, MutexGuard};

/// A mutex for what is looked at and let go of: nothing panics while it is held, so it is never poisoned.
#[derive(Debug, Default)]
pub struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Held until what is returned is dropped. Not to be held across an await.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no panic while held")
    }
}
