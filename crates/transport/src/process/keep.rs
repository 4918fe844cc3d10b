//! When a process writes its report. Deciding is pure.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry::Process;

/// How often it is looked at.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// The part of the time between two writes after which the next one may follow another statement.
const NEARLY: f64 = 0.6;
/// A breaker may change more often than that.
const NEWS_AFTER: Duration = Duration::from_millis(900);
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// At the end the process waits for a write under way, which could otherwise come after the removal. It waits no longer than
/// this.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// After that it does not wait for a store that is away: the others see that it is silent.
const REMOVED_WITHIN: Duration = Duration::from_secs(1);

/// Where a process keeps its report.
pub trait Store: Send {
    /// The time between two writes without news.
    fn every(&self) -> Duration;

    /// Returns when a write is cheap right now, and so may come earlier.
    fn convenient(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Writes it, or answers soon why not.
    fn write(&mut self, process: &Process) -> impl Future<Output = Result<(), String>> + Send;

    /// The process ends.
    fn remove(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// What a process shows of itself.
pub trait Shows {
    /// A number that changes with what should be known soon: see [`super::Report::is_news_after`]. It is asked every second
    /// for each store, so it must cost little.
    fn news(&mut self) -> u64;

    /// All of it.
    fn now(&mut self) -> Process;
}

/// The last try.
struct Tried {
    news: u64,
    at: Instant,
    written: bool,
}

/// Does the work. Until it has ended, `store` has what `shown` shows.
pub async fn shown_beside<T>(
    work: impl Future<Output = T>,
    mut store: impl Store,
    mut shown: impl Shows,
) -> T {
    let ended = CancellationToken::new();
    let work = async {
        let worked = work.await;
        ended.cancel();
        worked
    };
    let (worked, ()) = tokio::join!(work, keep(&mut store, &mut shown, &ended));
    let _ = tokio::time::timeout(REMOVED_WITHIN, store.remove()).await;
    worked
}

async fn keep(store: &mut impl Store, shown: &mut impl Shows, ended: &CancellationToken) {
    let mut last: Option<Tried> = None;
    let mut every = store.every();
    while !ended.is_cancelled() {
        let (news, now) = (shown.news(), Instant::now());
        if is_due(last.as_ref(), news, now, every) {
            let process = shown.now();
            let had_failed = last.as_ref().is_some_and(|last| !last.written);
            let cut_off = async {
                ended.cancelled().await;
                tokio::time::sleep(WRITTEN_WITHIN).await;
            };
            let tried = tokio::select! {
                tried = store.write(&process) => tried,
                () = cut_off => return,
            };
            match &tried {
                Err(error) if !had_failed => {
                    tracing::warn!(
                        error,
                        "failed to write that this process runs: `outbox status` may show it as silent, or not at all"
                    );
                }
                Ok(()) if had_failed => tracing::info!("wrote again that this process runs"),
                _ => {}
            }
            last = Some(Tried { news, at: now, written: tried.is_ok() });
        }
        every = store.every();
        tokio::select! {
            () = tokio::time::sleep(LOOKED_EVERY) => {}
            () = store.convenient() => every = every.mul_f64(NEARLY),
            () = ended.cancelled() => {}
        }
    }
}

fn is_due(last: Option<&Tried>, news: u64, now: Instant, every: Duration) -> bool {
    let Some(last) = last else { return true };
    let since = now.saturating_duration_since(last.at);
    if !last.written {
        return since >= AGAIN_AFTER;
    }
    since >= every || (since >= NEWS_AFTER && news != last.news)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::process::Program;

    /// Records what is written, and when.
    #[derive(Default)]
    struct Written {
        began: Option<Instant>,
        at: Arc<Mutex<Vec<(u64, bool)>>>,
        fails: Arc<AtomicUsize>,
        removed: Arc<AtomicBool>,
    }

    impl Store for Written {
        fn every(&self) -> Duration {
            Duration::from_secs(5)
        }

        async fn write(&mut self, process: &Process) -> Result<(), String> {
            let began = *self.began.get_or_insert_with(Instant::now);
            if self.fails.load(Ordering::Relaxed) > 0 {
                self.fails.fetch_sub(1, Ordering::Relaxed);
                return Err("no space".to_owned());
            }
            let millis = began.elapsed().as_millis() as u64;
            self.at.lock().unwrap().push((millis, process.report.ready));
            Ok(())
        }

        async fn remove(&mut self) -> Result<(), String> {
            self.removed.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    /// A process that is ready until then.
    struct ReadyUntil(Option<Instant>);

    impl Shows for ReadyUntil {
        fn news(&mut self) -> u64 {
            u64::from(self.now().report.ready)
        }

        fn now(&mut self) -> Process {
            process(self.0.is_none_or(|until| Instant::now() < until))
        }
    }

    /// A store that takes a write late, also if the process no longer waits for the answer.
    struct Late(Arc<AtomicBool>);

    impl Store for Late {
        fn every(&self) -> Duration {
            Duration::from_secs(5)
        }

        async fn write(&mut self, _: &Process) -> Result<(), String> {
            let has_row = Arc::clone(&self.0);
            let taken = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(400)).await;
                has_row.store(true, Ordering::Relaxed);
            });
            taken.await.map_err(|error| error.to_string())
        }

        async fn remove(&mut self) -> Result<(), String> {
            self.0.store(false, Ordering::Relaxed);
            Ok(())
        }
    }

    /// Guards promise 8: a process that stops during a write is not shown as killed, because its row came back.
    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_ends_before_the_removal() {
        let has_row = Arc::new(AtomicBool::new(false));
        let (work, store) = (tokio::time::sleep(Duration::from_millis(100)), Late(Arc::clone(&has_row)));
        shown_beside(work, store, ReadyUntil(None)).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!has_row.load(Ordering::Relaxed));
    }

    fn process(ready: bool) -> Process {
        let mut process = Process::new(Program::Worker, "vm:1:abc", "0.1.0", None);
        process.report.ready = ready;
        process
    }

    /// Guards promise 8: it is written at once, every five seconds, and within a second after news. After a failure it is
    /// tried again soon. At the end it is removed.
    #[tokio::test(start_paused = true)]
    async fn it_is_written_regularly_and_after_news() {
        let store = Written::default();
        let (at, removed, fails) =
            (Arc::clone(&store.at), Arc::clone(&store.removed), Arc::clone(&store.fails));
        let look = ReadyUntil(Some(Instant::now() + Duration::from_secs(12)));
        shown_beside(tokio::time::sleep(Duration::from_millis(17_800)), store, look).await;
        assert_eq!(
            *at.lock().unwrap(),
            [(0, true), (5000, true), (10_000, true), (12_000, false), (17_000, false)]
        );
        assert!(removed.load(Ordering::Relaxed));

        fails.store(2, Ordering::Relaxed);
        at.lock().unwrap().clear();
        let store = Written { at: Arc::clone(&at), fails, ..Written::default() };
        shown_beside(tokio::time::sleep(Duration::from_millis(5900)), store, ReadyUntil(None)).await;
        assert_eq!(*at.lock().unwrap(), [(4000, true)]);
    }
}
