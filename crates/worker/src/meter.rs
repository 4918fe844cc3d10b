//! What one RPC's lane shows of itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use event_router::Rpc;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::fate::Fate;

/// The metrics of one RPC's lane; `ops/metrics.md` says what each means.
#[derive(Clone)]
pub struct Meter {
    source: String,
    rpc: String,
    in_flight: Gauge,
    concurrency: Gauge,
    breaker: Gauge,
    attempts: Histogram,
    done: Histogram,
    lost_leases: Counter,
}

impl Meter {
    /// `source` is where the queue is: a database's name, or `sqs`.
    pub fn new(source: &str, rpc: &Rpc) -> Self {
        let (source, rpc) = (source.to_owned(), rpc.to_string());
        let meter = Self {
            in_flight: gauge!("outbox_worker_in_flight", "rpc" => rpc.clone()),
            concurrency: gauge!("outbox_worker_concurrency_max", "rpc" => rpc.clone()),
            breaker: gauge!("outbox_worker_breaker_state", "source" => source.clone(), "rpc" => rpc.clone()),
            attempts: histogram!("outbox_worker_attempts", "rpc" => rpc.clone()),
            done: histogram!("outbox_worker_enqueue_to_done_seconds", "rpc" => rpc.clone()),
            lost_leases: counter!("outbox_worker_lost_leases_total", "rpc" => rpc.clone()),
            source,
            rpc,
        };
        // From the start on, so that the first one is an increase.
        for operation in ["receive", "claim", "record", "extend"] {
            meter.errors(operation).increment(0);
        }
        for (outcome, code) in [("done", "ok"), ("duplicate", "done_before")] {
            meter.deliveries(outcome, code).increment(0);
        }
        meter.lost_leases.increment(0);
        meter.in_flight.increment(0.0);
        meter
    }

    /// What it is called where a part of the process has a name.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.source, self.rpc)
    }

    pub(crate) fn opens(&self, concurrency: usize) {
        self.concurrency.increment(concurrency as f64);
    }

    pub(crate) fn closes(&self, concurrency: usize) {
        self.concurrency.decrement(concurrency as f64);
    }

    pub(crate) fn breaker(&self, level: f64) {
        self.breaker.set(level);
    }

    pub(crate) fn call_begins(&self) {
        self.in_flight.increment(1.0);
    }

    pub(crate) fn call_ends(&self, code: &'static str, took: Duration) {
        self.in_flight.decrement(1.0);
        histogram!("outbox_worker_call_seconds", "rpc" => self.rpc.clone(), "code" => code).record(took);
    }

    /// With which attempt a delivery ended, done or dead.
    pub(crate) fn ended(&self, attempt: u32) {
        self.attempts.record(f64::from(attempt));
    }

    pub(crate) fn done(&self, occurred_at: DateTime<Utc>) {
        self.done.record((Utc::now() - occurred_at).num_microseconds().unwrap_or(0) as f64 / 1e6);
    }

    pub(crate) fn delivered(&self, fate: &Fate) {
        let (outcome, code) = fate.outcome_and_code();
        self.deliveries(outcome, code).increment(1);
    }

    /// A request to queue or dedup record failed.
    pub(crate) fn failed(&self, operation: &'static str) {
        self.errors(operation).increment(1);
    }

    pub(crate) fn lost_lease(&self) {
        self.lost_leases.increment(1);
    }

    fn deliveries(&self, outcome: &'static str, code: &'static str) -> Counter {
        counter!("outbox_worker_deliveries_total", "rpc" => self.rpc.clone(), "outcome" => outcome, "code" => code)
    }

    fn errors(&self, operation: &'static str) -> Counter {
        counter!("outbox_worker_errors_total", "rpc" => self.rpc.clone(), "operation" => operation)
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meter").field(&self.source).field(&self.rpc).finish()
    }
}
