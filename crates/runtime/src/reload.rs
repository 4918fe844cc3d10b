//! SIGHUP: a process reads its files again. A file with a mistake changes nothing, and the process says so.

use std::time::SystemTime;

use metrics::gauge;

use crate::Started;

/// The name of the note in `/readyz` and in reports of processes, while the process refuses a file.
pub const RELOAD: &str = "SIGHUP";

/// Reads the files again after each SIGHUP, and never ends. `read` returns the new value, or all that is wrong with the files.
/// `take` puts the value into effect, and says what changed. Files are read beside the work, because proto takes a while.
pub async fn reload<T: Send + 'static>(
    started: Started,
    read: impl Fn() -> Result<T, String> + Clone + Send + 'static,
    mut take: impl FnMut(T) -> String,
) {
    gauge!("outbox_config_reload_failed").set(0.0);
    gauge!("outbox_router_loaded_timestamp_seconds").set(unix_seconds());
    loop {
        started.hangups.next().await;
        let found = match tokio::task::spawn_blocking(read.clone()).await {
            Ok(found) => found,
            Err(_) => Err("a bug: reading it panicked".to_owned()),
        };
        match found {
            Ok(new) => {
                let changed = take(new);
                gauge!("outbox_config_reload_failed").set(0.0);
                gauge!("outbox_router_loaded_timestamp_seconds").set(unix_seconds());
                started.readiness.notes(RELOAD, None);
                tracing::info!("SIGHUP: read event_router.yaml again: {changed}");
            }
            Err(finding) => {
                gauge!("outbox_config_reload_failed").set(1.0);
                started.readiness.notes(RELOAD, Some(refused(&finding)));
                tracing::error!(
                    error = finding,
                    "SIGHUP: refused a file, and nothing changes: correct it, and send SIGHUP again"
                );
            }
        }
    }
}

fn refused(finding: &str) -> String {
    format!("a file was refused, and those before are in use: {finding}")
}

/// For a process that reads no such file.
pub async fn reload_nothing(started: Started) {
    loop {
        started.hangups.next().await;
        tracing::info!("SIGHUP: nothing changes, because this process reads no event_router.yaml");
    }
}

/// Shows by its hash which file the process uses. The series of the file before goes to zero.
pub fn shows_router(program: &'static str, before: Option<&str>, now: &str) {
    let shown =
        |router: &str| gauge!("outbox_process_info", "program" => program, "router" => router.to_owned());
    if let Some(before) = before {
        shown(before).set(0.0);
    }
    shown(now).set(1.0);
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Guards promise 6: a file with a mistake changes nothing and is shown, though the process stays ready. The next good file
    /// ends that.
    #[tokio::test]
    async fn a_bad_file_changes_nothing_and_is_shown() {
        let (started, reads) = (Started::default(), Arc::new(AtomicUsize::new(0)));
        let (taken, take) = tokio::sync::watch::channel(0);
        let part = started.readiness.part("cards");
        part.moves();
        let read = {
            let reads = Arc::clone(&reads);
            move || match reads.fetch_add(1, Ordering::SeqCst) {
                0 => Err("line 3: no such key".to_owned()),
                nth => Ok(nth),
            }
        };
        let reloading = tokio::spawn(reload(started.clone(), read, move |nth| {
            taken.send_replace(nth);
            "all".to_owned()
        }));
        let noted = || {
            let halted = started.readiness.halted(Duration::ZERO);
            halted.into_iter().map(|halted| halted.reason).find(|reason| reason.contains("line 3"))
        };
        started.hangups.ask();
        while noted().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(started.readiness.is_ready(None) && started.readiness.problems(Instant::now()).is_empty());
        assert_eq!(*take.borrow(), 0, "nothing changed");
        started.hangups.ask();
        while noted().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*take.borrow(), 1);
        reloading.abort();
    }
}
