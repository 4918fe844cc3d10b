//! Whether the process makes progress, or what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Guarded;

/// Shorter waits are normal, such as a restart of the database or half a minute of throttling.
const PATIENCE: Duration = Duration::from_secs(30);

/// The state behind `/readyz`: every part of the process, and since when it makes no progress.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Guarded<Parts>>);

/// One part, for example a database's relay or an RPC's consumer.
#[derive(Debug, Clone)]
pub struct Part {
    readiness: Readiness,
    name: String,
}

/// A part that makes no progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Halted {
    pub part: String,
    pub reason: String,
    /// Since when, in seconds; `None` if waiting does not help.
    pub seconds: Option<f64>,
}

/// Parts are named after their source, or after source and RPC. A note about the process is of every source.
fn is_of(part: &str, source: &str) -> bool {
    part.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[derive(Debug)]
enum State {
    Starting,
    Moving,
    Waiting { since: Instant, reason: String },
    Failed { reason: String },
}

#[derive(Debug, Default)]
struct Parts {
    all: BTreeMap<String, State>,
    /// Those that are not moving. There are thousands of parts, and each database asks for these every second.
    halts: BTreeSet<String>,
    /// The process works, and has something to say: each with its reason.
    notes: BTreeMap<String, String>,
}

impl Parts {
    fn has(&self, source: Option<&str>) -> bool {
        of(self.all.range::<str, _>(from(source)), source, |(part, _)| part).next().is_some()
    }

    /// Those of one source, or all.
    fn halts(&self, source: Option<&str>) -> impl Iterator<Item = (&String, &State)> {
        let names = of(self.halts.range::<str, _>(from(source)), source, |part| part);
        names.filter_map(|name| self.all.get_key_value(name))
    }

    fn set(&mut self, name: &str, next: State) {
        if matches!(next, State::Moving) {
            self.halts.remove(name);
        } else if !self.halts.contains(name) {
            self.halts.insert(name.to_owned());
        }
        match self.all.get_mut(name) {
            Some(state) => *state = next,
            None => _ = self.all.insert(name.to_owned(), next),
        }
    }
}

/// Names are in order, so those of a source follow each other.
fn from(source: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(source.unwrap_or_default()), Bound::Unbounded)
}

fn of<T>(
    near: impl Iterator<Item = T>,
    source: Option<&str>,
    name: impl Fn(&T) -> &String + Copy,
) -> impl Iterator<Item = T> {
    near.take_while(move |one| name(one).starts_with(source.unwrap_or_default()))
        .filter(move |one| source.is_none_or(|source| is_of(name(one), source)))
}

impl Readiness {
    /// A new part is not ready until it has made progress once.
    pub fn part(&self, name: impl Into<String>) -> Part {
        let part = Part { readiness: self.clone(), name: name.into() };
        part.set(|_| State::Starting);
        part
    }

    /// The part of this name no longer exists.
    pub fn forgets(&self, name: &str) {
        let mut parts = self.0.lock();
        parts.all.remove(name);
        parts.halts.remove(name);
    }

    /// Why the process is not ready; empty if it is ready.
    pub(crate) fn problems(&self, now: Instant) -> Vec<String> {
        let parts = self.0.lock();
        if parts.all.is_empty() {
            return vec!["starting".to_owned()];
        }
        parts
            .all
            .iter()
            .filter_map(|(name, state)| Some(format!("{name}: {}", state.problem(now)?)))
            .collect()
    }
}

impl Readiness {
    /// As `/readyz` says it, of the parts of one source, or of all. Without a part it is starting.
    pub fn is_ready(&self, source: Option<&str>) -> bool {
        let now = Instant::now();
        let parts = self.0.lock();
        parts.has(source) && !parts.halts(source).any(|(_, state)| state.is_problem(now))
    }

    /// The parts that have made no progress for this time. It may be shorter than that of `/readyz`.
    pub fn halted(&self, after: Duration) -> Vec<Halted> {
        self.halted_of(None, after)
    }

    /// The same, of one source and of the process, or of all.
    pub fn halted_of(&self, source: Option<&str>, after: Duration) -> Vec<Halted> {
        let now = Instant::now();
        let halted = |(part, state): (&String, &State)| {
            let (reason, seconds) = match state {
                State::Moving | State::Starting => return None,
                State::Failed { reason } => (reason, None),
                State::Waiting { since, reason } => {
                    let waited = now.saturating_duration_since(*since);
                    if waited < after {
                        return None;
                    }
                    (reason, Some(waited.as_secs_f64()))
                }
            };
            Some(Halted { part: part.clone(), reason: reason.clone(), seconds })
        };
        let note = |(name, reason): (&String, &String)| Halted {
            part: name.clone(),
            reason: reason.clone(),
            seconds: None,
        };
        let parts = self.0.lock();
        parts.halts(source).filter_map(halted).chain(parts.notes.iter().map(note)).collect()
    }
}

impl Readiness {
    /// A note is shown in `/readyz` and in the report of the process, which stays ready. `None` removes it.
    pub fn notes(&self, name: &str, reason: Option<String>) {
        let mut parts = self.0.lock();
        match reason {
            Some(reason) => parts.notes.insert(name.to_owned(), reason),
            None => parts.notes.remove(name),
        };
    }

    /// What `/readyz` says of a process that is ready.
    pub(crate) fn noted(&self) -> Vec<String> {
        self.0.lock().notes.iter().map(|(name, reason)| format!("{name}: {reason}")).collect()
    }
}

impl Part {
    /// The readiness of the whole process.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The part did something, or has nothing to do.
    pub fn moves(&self) {
        self.set(|_| State::Moving);
    }

    /// The part has work and can't do it. Repeated calls are one wait, with the latest reason.
    pub fn waits(&self, reason: impl Into<String>) {
        self.set(|before| {
            let since = match before {
                Some(State::Waiting { since, .. }) => *since,
                _ => Instant::now(),
            };
            State::Waiting { since, reason: reason.into() }
        });
    }

    /// The part can't work, and waiting does not help. This is shown at once.
    pub fn fails(&self, reason: impl Into<String>) {
        self.set(|_| State::Failed { reason: reason.into() });
    }

    /// How long the part has been waiting; `None` if it makes progress.
    pub fn waited(&self) -> Option<Duration> {
        match self.readiness.0.lock().all.get(&self.name) {
            Some(State::Waiting { since, .. }) => Some(since.elapsed()),
            _ => None,
        }
    }

    /// The part no longer exists.
    pub fn ends(self) {
        self.readiness.forgets(&self.name);
    }

    fn set(&self, next: impl FnOnce(Option<&State>) -> State) {
        let mut parts = self.readiness.0.lock();
        let next = next(parts.all.get(&self.name));
        parts.set(&self.name, next);
    }
}

impl State {
    fn is_problem(&self, now: Instant) -> bool {
        match self {
            Self::Moving => false,
            Self::Starting | Self::Failed { .. } => true,
            Self::Waiting { since, .. } => now.saturating_duration_since(*since) >= PATIENCE,
        }
    }

    fn problem(&self, now: Instant) -> Option<String> {
        match self {
            Self::Moving => None,
            Self::Starting => Some("starting".to_owned()),
            Self::Failed { reason } => Some(reason.clone()),
            Self::Waiting { since, reason } => {
                let waited = now.saturating_duration_since(*since);
                (waited >= PATIENCE).then(|| format!("no progress for {} s: {reason}", waited.as_secs()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a wait is shown only once it lasts, with its latest reason, and progress clears it.
    #[test]
    fn waiting_is_told_once_it_lasts() {
        let readiness = Readiness::default();
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(readiness.problems(soon), ["starting"]);
        let (cards, ledger) = (readiness.part("cards"), readiness.part("ledger"));
        assert_eq!(readiness.problems(soon), ["cards: starting", "ledger: starting"]);
        cards.moves();
        ledger.waits("refused");
        ledger.waits("throttled");
        let later = Instant::now() + Duration::from_secs(31);
        assert_eq!(readiness.problems(soon), [] as [&str; 0]);
        assert_eq!(readiness.problems(later), ["ledger: no progress for 31 s: throttled"]);
        assert!(ledger.waited().is_some() && cards.waited().is_none());
        ledger.moves();
        assert_eq!(readiness.problems(later), [] as [&str; 0]);
        ledger.waits("throttled");
        ledger.ends();
        cards.fails("no schema: make one");
        assert_eq!(
            readiness.problems(later),
            ["cards: no schema: make one"],
            "waiting does not help, and what has ended is not told"
        );
    }

    /// Guards promise 8: a database that is down makes no other database's report say that it is not ready.
    #[test]
    fn each_source_has_its_own_readiness() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready(None) && !readiness.is_ready(Some("cards")));
        let (cards, consumer) = (readiness.part("cards"), readiness.part("cards A/B"));
        let ledger = readiness.part("ledger");
        cards.moves();
        assert!(!readiness.is_ready(Some("cards")), "its consumer starts");
        consumer.moves();
        ledger.fails("no schema");
        let ready = [Some("cards"), Some("ledger"), Some("card"), None].map(|of| readiness.is_ready(of));
        assert_eq!(ready, [true, false, false, false]);
        ledger.moves();
        assert!(readiness.is_ready(None));
    }

    /// Guards promise 8: a part that waits is reported sooner than `/readyz` says it, with its time. One that moves or starts is
    /// not reported.
    #[test]
    fn halted_parts_are_reported_sooner() {
        let readiness = Readiness::default();
        let (moves, waits, fails) =
            (readiness.part("one"), readiness.part("two A/B"), readiness.part("twofold"));
        let _starts = readiness.part("three");
        moves.moves();
        waits.waits("no space");
        fails.fails("no schema");
        assert!(!readiness.is_ready(None));
        let halted = readiness.halted(Duration::ZERO);
        let told: Vec<_> = halted.iter().map(|one| (one.part.as_str(), one.seconds.is_some())).collect();
        assert_eq!(told, [("two A/B", true), ("twofold", false)]);
        readiness.notes("file", Some("refused".to_owned()));
        let of = |source| readiness.halted_of(Some(source), Duration::ZERO).into_iter().map(|one| one.part);
        assert_eq!(of("two").collect::<Vec<_>>(), ["two A/B", "file"], "a note is of every source");
        assert_eq!(of("twofold").collect::<Vec<_>>(), ["twofold", "file"]);
        readiness.notes("file", None);
        assert_eq!(
            readiness.halted(Duration::from_secs(60)).len(),
            1,
            "only the one that waiting does not help"
        );
    }
}
