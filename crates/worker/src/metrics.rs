//! The metrics of one RPC's consumer, and of its queue.

mod measured; // what operators see of a queue
mod raised;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use outbox_event_router::Rpc;
use outbox_runtime::{Chain, Guarded};

use crate::breaker::{Breaker, Reason};
use crate::duty::{Duty, Role};
use crate::rpc::withheld_of;
use measured::Measured;
use outbox_transport::{Again, Depth, Depths, Outcome};
use raised::Raised;

/// Per consumer, for the life of a process.
const REASONS_MAX: usize = 10;
/// With the default backoff a delivery gets here after a minute. What passes by itself has passed by then.
const OFTEN: u32 = 8;
/// The labels of a success.
const DONE: (&str, &str) = ("done", "ok");

/// The metrics of one RPC's consumer; `ops/metrics.md` says what each means.
#[derive(Clone)]
pub(crate) struct Metrics {
    source: String,
    pub(crate) rpc: String,
    in_flight: Gauge,
    concurrency: Gauge,
    breaker: Gauge,
    held: Arc<Guarded<Holds>>,
    measured: Arc<Guarded<Measured>>,
    /// Whether it is paused and limited, in the gauges. There may be thousands.
    shown_brakes: Arc<Guarded<Option<(bool, bool)>>>,
    attempts: Histogram,
    done: Histogram,
    /// The usual ones. A look-up by labels copies and hashes them.
    answered: Arc<OnceLock<Histogram>>,
    delivered: Counter,
    lost_leases: Counter,
    retried_often: Counter,
}

impl Metrics {
    /// `source` is where the queue is: a database's name, or `sqs`.
    pub(crate) fn new(source: &str, rpc: &Rpc) -> Self {
        let (source, rpc) = (source.to_owned(), rpc.to_string());
        let metrics = Self {
            in_flight: gauge!("outbox_worker_in_flight", "source" => source.clone(), "rpc" => rpc.clone()),
            concurrency: gauge!("outbox_worker_concurrency_max", "rpc" => rpc.clone()),
            breaker: gauge!("outbox_worker_breaker_state", "source" => source.clone(), "rpc" => rpc.clone()),
            held: Arc::default(),
            measured: Arc::default(),
            shown_brakes: Arc::default(),
            attempts: histogram!("outbox_worker_attempts", "rpc" => rpc.clone()),
            done: histogram!("outbox_worker_enqueue_to_done_seconds", "rpc" => rpc.clone()),
            answered: Arc::default(),
            delivered: deliveries(&source, &rpc, DONE),
            lost_leases: counter!("outbox_worker_lost_leases_total", "rpc" => rpc.clone()),
            retried_often: counter!("outbox_worker_retried_often_total", "source" => source.clone(), "rpc" => rpc.clone()),
            source,
            rpc,
        };
        // Count from zero at the start, so that the first event is an increase.
        for operation in ["receive", "claim", "record", "settle", "extend"] {
            metrics.errors(operation).increment(0);
        }
        metrics.set_aside(&BTreeMap::from([("none".to_owned(), 0)]));
        metrics.delivered.increment(0);
        deliveries(&metrics.source, &metrics.rpc, ("duplicate", "done_before")).increment(0);
        metrics.lost_leases.increment(0);
        metrics.retried_often.increment(0);
        withheld_of(&metrics.rpc).increment(0);
        metrics.in_flight.increment(0.0);
        metrics
    }

    /// The role of this worker in receiving from the queue.
    pub(crate) fn duty(&self) -> Gauge {
        gauge!("outbox_worker_duty", "source" => self.source.clone(), "rpc" => self.rpc.clone())
    }

    /// The consumer's name as a part of the process.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.source, self.rpc)
    }

    /// Adds so many slots to the metric, until the result is dropped.
    pub(crate) fn opens(&self, concurrency: usize) -> Raised {
        Raised::by(concurrency as f64, &self.concurrency)
    }

    pub(crate) fn breaker(&self, breaker: &Breaker) {
        self.breaker.set(breaker.level());
        let mut held = self.held.lock();
        if held.reason.as_ref() == breaker.held() {
            return;
        }
        if let Some(gauge) = held.gauge.take() {
            gauge.set(0.0);
        }
        if let Some(reason) = breaker.held() {
            let words = held.words(&reason.words);
            let gauge = self.holds(reason.code.as_str(), words);
            gauge.set(1.0);
            held.gauge = Some(gauge);
        }
        held.reason = breaker.held().cloned();
    }

    /// Whether operators paused the RPC, or set other limits.
    pub(crate) fn braked(&self, paused: bool, limited: bool) {
        if self.shown_brakes.lock().replace((paused, limited)) == Some((paused, limited)) {
            return;
        }
        let labels = [("source", self.source.clone()), ("rpc", self.rpc.clone())];
        gauge!("outbox_worker_paused", &labels).set(f64::from(u8::from(paused)));
        gauge!("outbox_worker_limited", &labels).set(f64::from(u8::from(limited)));
    }

    /// Counts a call as under way, until the result is dropped.
    pub(crate) fn call_begins(&self) -> Raised {
        Raised::by(1.0, &self.in_flight)
    }

    pub(crate) fn call_ended(&self, code: &'static str, took: Duration) {
        let of = || histogram!("outbox_worker_call_seconds", "rpc" => self.rpc.clone(), "code" => code);
        let usual = (code == DONE.1).then(|| self.answered.get_or_init(of).clone());
        usual.unwrap_or_else(of).record(took);
    }

    /// The attempt at which a delivery ended, done or dead.
    pub(crate) fn ended(&self, attempt: u32) {
        self.attempts.record(f64::from(attempt));
    }

    pub(crate) fn done(&self, occurred_at: DateTime<Utc>) {
        self.done.record(seconds_since(occurred_at, Utc::now()));
    }

    pub(crate) fn delivered(&self, outcome: &Outcome, attempt: u32) {
        self.retried_often.increment(u64::from(is_often(attempt, outcome)));
        let usual = (outcome.labels() == DONE).then(|| self.delivered.clone());
        usual.unwrap_or_else(|| deliveries(&self.source, &self.rpc, outcome.labels())).increment(1);
    }

    /// A request to the queue or the dedup record failed.
    pub(crate) fn failed(&self, operation: &'static str) {
        self.errors(operation).increment(1);
    }

    pub(crate) fn lost_lease(&self) {
        self.lost_leases.increment(1);
    }

    /// Dead letters that their queue refuses, by the code of the refusal.
    pub(crate) fn set_aside(&self, counts: &BTreeMap<String, usize>) {
        let some = counts.iter().filter(|(_, count)| **count > 0);
        self.measured.lock().set_aside = some.map(|(code, count)| (code.clone(), *count)).collect();
        for (code, count) in counts {
            let (source, rpc, code) = (self.source.clone(), self.rpc.clone(), code.clone());
            gauge!("outbox_worker_set_aside", "source" => source, "rpc" => rpc, "code" => code)
                .set(*count as f64);
        }
    }

    /// Measures the queue's depth regularly, until it is dropped. Only the watcher measures, because each measurement may
    /// cost money. The others show 0 and not an old value.
    pub(crate) async fn watch<Q: Depths>(&self, queue: &Q, duty: &Duty, every: Duration) {
        loop {
            duty.until(|role| role == Role::Watch).await;
            match Box::pin(queue.depth()).await {
                Ok(depth) => self.depth(Some(&depth)),
                Err(error) => {
                    self.measured.lock().backlog.forget();
                    tracing::debug!(rpc = self.rpc, error = %Chain(&error), "failed to look how full it is");
                }
            }
            tokio::select! {
                () = async {
                    queue.may_differ().await;
                    tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
                } => {}
                () = duty.until(|role| role != Role::Watch) => self.depth(None),
            }
        }
    }

    /// The last measurement of the queue, and what is set aside.
    pub(crate) fn measured(&self) -> Measured {
        self.measured.lock().clone()
    }

    /// The RPC is no longer served here. Its gauges would keep their last values.
    pub(crate) fn ends(&self) {
        self.depth(None);
        self.braked(false, false);
        self.breaker.set(0.0);
        if let Some(gauge) = self.held.lock().gauge.take() {
            gauge.set(0.0);
        }
    }

    fn depth(&self, measured: Option<&Depth>) {
        let now = tokio::time::Instant::now();
        let Some(depth) = self.measured.lock().news(measured, now) else { return };
        let labels = || [("source", self.source.clone()), ("rpc", self.rpc.clone())];
        let age = depth.oldest.map_or(0.0, |oldest| seconds_since(oldest, Utc::now()));
        gauge!("outbox_worker_queue_oldest_seconds", &labels()).set(age);
        gauge!("outbox_worker_dead_letters", &labels()).set(depth.dead as f64);
        let states = [("waiting", depth.waiting), ("hidden", depth.hidden), ("retrying", depth.retrying)];
        for (state, messages) in states {
            let [source, rpc] = labels();
            let labels = [source, rpc, ("state", state.to_owned())];
            gauge!("outbox_worker_queue_messages", &labels).set(messages as f64);
        }
    }

    fn holds(&self, code: &'static str, words: String) -> Gauge {
        let labels = [
            ("source", self.source.clone()),
            ("rpc", self.rpc.clone()),
            ("code", code.to_owned()),
            ("reason", words),
        ];
        gauge!("outbox_worker_held", &labels)
    }

    fn errors(&self, operation: &'static str) -> Counter {
        let (source, rpc) = (self.source.clone(), self.rpc.clone());
        counter!("outbox_worker_errors_total", "source" => source, "rpc" => rpc, "operation" => operation)
    }
}

fn deliveries(source: &str, rpc: &str, (outcome, code): (&'static str, &'static str)) -> Counter {
    let (source, rpc) = (source.to_owned(), rpc.to_owned());
    counter!("outbox_worker_deliveries_total", "source" => source, "rpc" => rpc, "outcome" => outcome, "code" => code)
}

#[derive(Default)]
struct Holds {
    reason: Option<Reason>,
    gauge: Option<Gauge>,
    seen: Vec<String>,
}

impl Holds {
    /// A server may send any text, and each is a series for as long as the process lives.
    fn words(&mut self, words: &str) -> String {
        if !self.seen.iter().any(|seen| seen == words) {
            if self.seen.len() == REASONS_MAX {
                return "see the log".to_owned();
            }
            self.seen.push(words.to_owned());
        }
        words.to_owned()
    }
}

/// Held and postponed deliveries lose no attempt, so they prove nothing about their event.
pub(crate) fn is_often(attempt: u32, outcome: &Outcome) -> bool {
    attempt >= OFTEN && matches!(outcome, Outcome::Retry { again: Again::Failed, .. })
}

/// Never below zero, even if a publisher's clock is ahead: a sum that falls would look like a restart.
fn seconds_since(then: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    now.signed_duration_since(then).to_std().unwrap_or_default().as_secs_f64()
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metrics").field(&self.source).field(&self.rpc).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that counts how often it is measured.
    #[derive(Default)]
    struct Counted(std::sync::atomic::AtomicUsize);

    impl Depths for Counted {
        async fn depth(&self) -> Result<Depth, outbox_transport::QueueError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Depth::default())
        }
    }

    /// Guards: only the watcher measures a queue, and it begins at once.
    #[tokio::test(start_paused = true)]
    async fn only_the_watcher_measures() {
        let metrics = Metrics::new("sqs", &Rpc::new("Test/Depth").unwrap());
        let (queue, duty) = (Counted::default(), Duty::new(metrics.duty()));
        let mut measured = Vec::new();
        let script = async {
            for role in [Role::Rest, Role::Help, Role::Watch, Role::Rest] {
                duty.set(role);
                tokio::time::sleep(Duration::from_secs(90)).await;
                measured.push(queue.0.load(std::sync::atomic::Ordering::Relaxed));
            }
        };
        tokio::select! {
            biased;
            () = script => {}
            () = metrics.watch(&queue, &duty, Duration::from_secs(60)) => {}
        }
        assert_eq!(measured, [0, 0, 2, 2]);
    }

    /// Guards promise 8: an event that fails again and again is counted, and a held one is not.
    #[test]
    fn retries_of_one_event_are_counted_from_the_eighth_on() {
        let retry = |again| Outcome::retry(again, Duration::ZERO, "internal", "e");
        for (attempt, outcome, expected) in [
            (7, retry(Again::Failed), false),
            (8, retry(Again::Failed), true),
            (20, retry(Again::Failed), true),
            (20, retry(Again::Held), false),
            (20, retry(Again::Postponed), false),
            (20, Outcome::Done, false),
            (20, Outcome::Dead { code: "internal", reason: "e".to_owned() }, false),
        ] {
            assert_eq!(is_often(attempt, &outcome), expected, "{attempt} {outcome:?}");
        }
    }

    /// Guards promise 6: any time of an event can be measured.
    #[test]
    fn any_time_can_be_measured() {
        let now = Utc::now();
        let ago = |micros| seconds_since(now - chrono::TimeDelta::microseconds(micros), now);
        assert_eq!(ago(1_234_567), 1.234_567);
        assert_eq!((ago(0), ago(-5_000_000)), (0.0, 0.0));
        for (then, now) in [
            (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
            (DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC),
        ] {
            assert!(seconds_since(then, now).is_finite());
        }
    }
}
