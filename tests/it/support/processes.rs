//! What must hold of every relay and worker that a test stops.

use std::time::{Duration, Instant};

use testkit::process::Process;

/// SIGTERM ends it with 0 within 10 s; and it never said that the fallback poll was needed.
pub(crate) async fn assert_stops_cleanly(mut process: Process) {
    let began = Instant::now();
    process.signal("TERM").unwrap();
    assert!(process.ended().await.unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10));
    while let Some(line) = process.line().await {
        assert!(!line.contains("nobody rang for"), "{line}");
        assert!(!line.contains("panicked"), "{line}");
    }
}
