//! Tests wait for events, never for time.

use std::time::Duration;

/// Every awaited event comes within this time, or not at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds, and checks it every few milliseconds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
