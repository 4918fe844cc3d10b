//! Promise 5: publishing costs one INSERT.

mod wake; // the doorbell
