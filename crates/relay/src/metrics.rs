//! The metrics of one database's relay, and its entry in `/readyz`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_postgres::outbox::Window;
use outbox_runtime::Part;
use outbox_transport::PutError;
use tokio::sync::watch;

use crate::settle::Settled;

const SHOWN_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Progress {
    source: String,
    part: Part,
    /// When the oldest event that is read and not yet put was enqueued.
    oldest: watch::Sender<Option<DateTime<Utc>>>,
}

impl Progress {
    pub(crate) fn new(source: &str, part: Part) -> Self {
        let progress = Self { source: source.to_owned(), part, oldest: watch::Sender::default() };
        progress.leads(false);
        // Count from zero at the start, so that the first event is an increase.
        progress.count("put", 0);
        progress.count("parked", 0);
        progress.answered("ok", 0);
        progress.fallback_found(0);
        for cause in ["doorbell", "linger", "fallback"] {
            progress.wakeups(cause, 0);
        }
        progress
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Updates the lag regularly while there is one, because no turn ends while the bus is away.
    pub(crate) async fn show(self) {
        loop {
            // It can't fail, because `self` has the sender.
            let _ = self.oldest.subscribe().wait_for(Option::is_some).await;
            self.show_lag();
            tokio::time::sleep(SHOWN_EVERY).await;
        }
    }

    pub(crate) fn leads(&self, leads: bool) {
        metrics::gauge!("outbox_relay_leader", "source" => self.source.clone()).set(f64::from(leads));
        if !leads {
            self.behind(None);
        }
    }

    pub(crate) fn moves(&self) {
        self.part.moves();
    }

    pub(crate) fn waits(&self, reason: impl Into<String>) {
        self.part.waits(reason);
    }

    /// Before the events of a window are put.
    pub(crate) fn begins(&self, window: &Window) {
        if window.entries.is_empty() {
            self.behind(None);
            self.moves();
            return;
        }
        metrics::histogram!("outbox_relay_window_events", "source" => self.source.clone())
            .record(window.entries.len() as f64);
        self.behind(window.entries.iter().map(|entry| entry.occurred_at).min());
        self.waits(format!("putting {} events", window.entries.len()));
    }

    /// After the cursor has passed the settled events.
    pub(crate) fn ends(&self, window: &Window, settled: &Settled) {
        self.behind(None);
        self.moves();
        self.count("put", settled.acked.len());
        self.count("parked", settled.parked.len());
        let put_seconds =
            metrics::histogram!("outbox_relay_enqueue_to_put_seconds", "source" => self.source.clone());
        for &at in &settled.acked {
            put_seconds.record(seconds_since(window.entries[at].occurred_at));
        }
        for (at, code, reason) in &settled.parked {
            let event_id = window.entries[*at].id;
            tracing::error!(source = self.source, %event_id, code, reason, "parked: the bus refused it for good");
        }
    }

    /// Counts the answers of the bus, or of reading a row. Partial success is not progress; only an advancing cursor is.
    pub(crate) fn answers<'a>(&self, results: impl IntoIterator<Item = &'a Result<(), PutError>>) {
        let (mut taken, mut last) = (0, None);
        for result in results {
            match result {
                Ok(()) => taken += 1,
                Err(failure) => {
                    self.answered(&failure.code, 1);
                    last = Some(failure);
                }
            }
        }
        if taken > 0 {
            self.answered("ok", taken);
        }
        if let Some(failure) = last {
            self.waits(format!("the bus says {failure}"));
        }
    }

    /// AWS may add codes, and a metric's label must have few values.
    fn answered(&self, code: &str, entries: usize) {
        const KNOWN: [&str; 15] = [
            "ok",
            "AccessDeniedException",
            "EntryTooLarge",
            "ExpiredTokenException",
            "InternalException",
            "InternalFailure",
            "InvalidArgument",
            "MalformedDetail",
            "MalformedEvent",
            "ResourceNotFoundException",
            "ThrottlingException",
            "Timeout",
            "Unreachable",
            "UnreadableAnswer",
            "ValidationException",
        ];
        let code = KNOWN.into_iter().find(|known| *known == code).unwrap_or("other");
        metrics::counter!("outbox_relay_puts_total", "source" => self.source.clone(), "code" => code)
            .increment(entries as u64);
    }

    pub(crate) fn wakeups(&self, cause: &'static str, times: u64) {
        metrics::counter!("outbox_relay_wakeups_total", "source" => self.source.clone(), "cause" => cause)
            .increment(times);
    }

    pub(crate) fn found_by_fallback(&self, events: usize) {
        self.fallback_found(events);
        tracing::warn!(source = self.source, events, "found events without a wake-up");
    }

    fn fallback_found(&self, events: usize) {
        metrics::counter!("outbox_relay_fallback_found_total", "source" => self.source.clone())
            .increment(events as u64);
    }

    fn count(&self, outcome: &'static str, events: usize) {
        metrics::counter!("outbox_relay_events_total", "source" => self.source.clone(), "outcome" => outcome)
            .increment(events as u64);
    }

    fn behind(&self, oldest: Option<DateTime<Utc>>) {
        self.oldest.send_replace(oldest);
        if oldest.is_none() {
            self.show_lag();
        }
    }

    fn show_lag(&self) {
        let oldest = *self.oldest.borrow();
        metrics::gauge!("outbox_relay_lag_seconds", "source" => self.source.clone())
            .set(oldest.map_or(0.0, |oldest| seconds_since(oldest).max(0.0)));
    }
}

fn seconds_since(then: DateTime<Utc>) -> f64 {
    (Utc::now() - then).num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}
