//! Checks of every relay and worker that a test stops.

use std::time::{Duration, Instant};

use testkit::process::Process;

/// SIGTERM ends it with 0, and it never logged that the fallback poll found an event.
pub(crate) async fn assert_stops_cleanly(mut process: Process) {
    process.signal("TERM").unwrap();
    assert!(process.ended().await.unwrap().success());
    while let Some(line) = process.line().await {
        assert!(!line.contains("found events without a wake-up"), "{line}");
        assert!(!line.contains("panicked"), "{line}");
    }
}

/// The same within 10 s. Only for a test that has the machine for itself.
pub(crate) async fn assert_stops_soon(process: Process) {
    let began = Instant::now();
    assert_stops_cleanly(process).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?} to stop", began.elapsed());
}
