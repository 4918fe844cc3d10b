//! The sources of a process. Each has a task of its own, and the failure of one does not stop the others.
//!
//! [`Sources::of`] registers all of them before any task begins, and gives each a [`Standing`]. A source's task calls
//! [`Standing::tend`] with the work of one term: connect, check the schema, work until `stop`. A term that ends early returns a
//! [`Trouble`]. `tend` reports it in the log, in `/readyz` and in the metric `outbox_source_usable`, pauses, and begins the
//! next term. A panic has the same effect. [`until_stopped`](crate::until_stopped) ends the process with exit code 3 once every
//! source is known to be unusable. A source that is down or was not reached yet counts as usable.
//!
//! ```no_run
//! # async fn connect_check_and_work() -> Result<(), std::io::Error> { Ok(()) }
//! # async fn run(names: Vec<String>, started: outbox_runtime::Started) -> std::process::ExitCode {
//! let (sources, standings) = outbox_runtime::Sources::of(&started.readiness, "relaying", names.iter().cloned());
//! let mut tasks = tokio::task::JoinSet::new();
//! for standing in standings {
//!     let stop = started.stop.clone();
//!     tasks.spawn(async move {
//!         let term = || async {
//!             // `standing.part()` is its entry in /readyz: `moves()` once it makes progress, `waits(…)` when it can't.
//!             let is_transient = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
//!             connect_check_and_work().await.map_err(|error| outbox_runtime::Trouble::of(&error, is_transient(&error)))
//!         };
//!         standing.tend(&stop, term).await;
//!         outbox_runtime::Finished::All
//!     });
//! }
//! let (finish, give_back) = (std::time::Duration::from_secs(9), std::time::Duration::ZERO);
//! outbox_runtime::until_stopped(tasks, &sources, &started, || outbox_runtime::Patience { finish, give_back }).await
//! # }
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backoff::{BackoffBuilder, ExponentialBuilder};
use metrics::gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Chain, Guarded, Part, Readiness, caught};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const SAID_EVERY: Duration = Duration::from_secs(60);
/// After a term as long as this, the waits start again at their minimum.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Why a term of a source ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass by itself: the database is down, or an answer was lost.
    Passing(String),
    /// It lasts until an operator acts; the text says how.
    Unusable(String),
}

impl Trouble {
    pub fn of(error: &(dyn Error + 'static), is_transient: bool) -> Self {
        let reason = Chain(error).to_string();
        if is_transient { Self::Passing(reason) } else { Self::Unusable(reason) }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<All>);

#[derive(Debug, Default)]
struct All {
    each: Guarded<Vec<Usable>>,
    changed: Notify,
}

#[derive(Debug)]
struct Usable {
    name: String,
    /// Why the source is unusable.
    not: Option<String>,
}

/// One source, for reports on its state.
#[derive(Debug, Clone)]
pub struct Standing {
    name: String,
    /// Its index among all sources, because two may have one name.
    at: usize,
    sources: Sources,
    part: Part,
    /// `relaying` or `delivering`.
    doing: &'static str,
}

impl Sources {
    /// All sources of the process and the standing of each, in order. `doing` names the work in the log.
    pub fn of(
        readiness: &Readiness,
        doing: &'static str,
        names: impl IntoIterator<Item = String>,
    ) -> (Self, Vec<Standing>) {
        let names: Vec<String> = names.into_iter().collect();
        let each = names.iter().map(|name| Usable { name: name.clone(), not: None }).collect();
        let sources = Self(Arc::new(All { each: Guarded::new(each), changed: Notify::new() }));
        let standing = |(at, name): (usize, String)| {
            let part = readiness.part(&name);
            Standing { name, at, sources: sources.clone(), part, doing }
        };
        let standings: Vec<Standing> = names.into_iter().enumerate().map(standing).collect();
        standings.iter().for_each(Standing::show);
        (sources, standings)
    }

    /// Waits until no source is usable, and returns the reason for each.
    pub(crate) async fn none_is_usable(&self) -> Vec<String> {
        loop {
            let changed = self.0.changed.notified();
            let reasons = self.reasons();
            if let Some(reasons) = reasons {
                return reasons;
            }
            changed.await;
        }
    }

    /// `None` while a source may be usable, and for a process without sources.
    fn reasons(&self) -> Option<Vec<String>> {
        let each = self.0.each.lock();
        let reason = |source: &Usable| Some(format!("{}: {}", source.name, source.not.as_ref()?));
        let reasons: Option<Vec<String>> = each.iter().map(reason).collect();
        reasons.filter(|reasons| !reasons.is_empty())
    }
}

impl Standing {
    /// The standing of a process's only source.
    pub fn alone(readiness: &Readiness, doing: &'static str, name: &str) -> Self {
        let (_, mut standings) = Sources::of(readiness, doing, [name.to_owned()]);
        standings.remove(0)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its entry in `/readyz`.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The source is usable and makes progress.
    pub fn works(&self) {
        self.part.moves();
        self.set(None);
    }

    /// The source is usable. Its entry in `/readyz` shows whether it makes progress.
    pub fn fits(&self) {
        self.set(None);
    }

    /// Runs term after term until `stop`, or until one ends without trouble, and returns the result of that one.
    pub async fn tend<T, F>(&self, stop: &CancellationToken, mut term: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut waits = backoff(RETRY_MIN, RETRY_MAX);
        let mut said: Option<(Trouble, Instant)> = None;
        while !stop.is_cancelled() {
            let began = Instant::now();
            let ended = caught(term()).await;
            if began.elapsed() > SETTLED_AFTER {
                waits = backoff(RETRY_MIN, RETRY_MAX);
            }
            let wait = waits.next().unwrap_or(RETRY_MAX);
            match ended {
                Ok(Ok(result)) => return Some(result),
                Ok(Err(trouble)) => {
                    let is_news = said
                        .as_ref()
                        .is_none_or(|(before, at)| *before != trouble || at.elapsed() >= SAID_EVERY);
                    if is_news {
                        said = Some((trouble.clone(), Instant::now()));
                    }
                    self.meets(trouble, wait, is_news);
                }
                Err(panicked) => self.panicked(&panicked, wait),
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        None
    }

    /// A passing trouble that stays the same is logged once a minute.
    fn meets(&self, trouble: Trouble, wait: Duration, is_news: bool) {
        let (source, doing, retry_in_seconds) = (&self.name, self.doing, wait.as_secs_f64());
        match trouble {
            Trouble::Passing(reason) => {
                if is_news {
                    tracing::warn!(source, error = reason, retry_in_seconds, "not {doing}: connecting again");
                }
                self.part.waits(reason);
                self.set(None);
            }
            Trouble::Unusable(reason) => {
                tracing::warn!(
                    source,
                    error = reason,
                    retry_in_seconds,
                    "not {doing}: the database can't be used as it is"
                );
                self.part.fails(format!("can't be worked on: {reason}"));
                self.set(Some(reason));
            }
        }
    }

    /// A bug in this program does not make the source unusable.
    fn panicked(&self, panicked: &crate::Panicked, wait: Duration) {
        let (source, doing, retry_in_seconds) = (&self.name, self.doing, wait.as_secs_f64());
        tracing::error!(source, error = %panicked, retry_in_seconds, "not {doing}: this is a bug; beginning again");
        self.part.fails(format!("{panicked}; this is a bug, and the log says where"));
        self.set(None);
    }

    fn set(&self, not: Option<String>) {
        self.sources.0.each.lock()[self.at].not = not;
        self.show();
        self.sources.0.changed.notify_waiters();
    }

    fn show(&self) {
        let usable = self.sources.0.each.lock()[self.at].not.is_none();
        gauge!("outbox_source_usable", "source" => self.name.clone()).set(f64::from(u8::from(usable)));
    }
}

/// The waits between tries. They double from `min` to `max`, with jitter, and never end.
pub fn backoff(min: Duration, max: Duration) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(min)
        .with_max_delay(max)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn sources(names: &[&str]) -> (Readiness, Sources, Vec<Standing>) {
        let readiness = Readiness::default();
        let (sources, standings) =
            Sources::of(&readiness, "working", names.iter().map(|name| (*name).to_owned()));
        (readiness, sources, standings)
    }

    const WAIT: Duration = Duration::from_secs(1);

    /// Guards promise 6: the process ends only when every source is known to be unusable. A source that is down, not reached
    /// yet or panicked may work later.
    #[tokio::test]
    async fn one_that_may_work_keeps_the_process() {
        let (readiness, all, each) = sources(&["one", "two", "two"]);
        assert_eq!(all.reasons(), None, "nothing is known yet");
        each[0].meets(Trouble::Unusable("no schema".into()), WAIT, true);
        each[1].meets(Trouble::Unusable("older".into()), WAIT, true);
        assert_eq!(all.reasons(), None, "the third was not reached yet");
        each[2].meets(Trouble::Passing("refused".into()), WAIT, true);
        assert_eq!(all.reasons(), None);
        let bug = std::hint::black_box(true);
        let panicked = caught(async { assert!(!bug, "what a bug") }).await.unwrap_err();
        each[2].panicked(&panicked, WAIT);
        assert_eq!(all.reasons(), None);
        each[2].meets(Trouble::Unusable("newer".into()), WAIT, true);
        assert_eq!(all.reasons().unwrap(), ["one: no schema", "two: older", "two: newer"]);
        each[0].works();
        assert_eq!(all.reasons(), None);
        each[0].meets(Trouble::Unusable("no schema".into()), WAIT, true);
        let told = readiness.problems(std::time::Instant::now());
        assert!(told.contains(&"one: can't be worked on: no schema".to_owned()), "{told:?}");
        assert_eq!(Sources::default().reasons(), None, "a process without sources is not at its end");
    }

    /// Guards promise 6: a term that fails or panics is followed by another. A term without trouble returns its result.
    #[tokio::test(start_paused = true)]
    async fn terms_are_begun_again_until_one_ends_well() {
        let (readiness, all, each) = sources(&["one", "two"]);
        let terms = Arc::new(AtomicUsize::new(0));
        let term = || {
            let nth = terms.fetch_add(1, Ordering::Relaxed);
            async move {
                match nth {
                    0 => Err(Trouble::Passing("down".into())),
                    1 => Err(Trouble::Unusable("no schema".into())),
                    2 => panic!("what a bug"),
                    _ => Ok("told"),
                }
            }
        };
        let stop = CancellationToken::new();
        assert_eq!(each[0].tend(&stop, term).await, Some("told"));
        assert_eq!(terms.load(Ordering::Relaxed), 4);
        let told = readiness.problems(Instant::now()).join("\n");
        assert!(told.contains("it panicked: what a bug"), "{told}");

        stop.cancel();
        assert_eq!(each[1].tend(&stop, || async { Ok(()) }).await, None, "nothing is begun after the stop");
        each.iter().for_each(|one| one.meets(Trouble::Unusable("gone".into()), WAIT, true));
        assert_eq!(all.none_is_usable().await, ["one: gone", "two: gone"]);
    }
}
