//! The relay's life: stand by, lead, and in the lead: read a window, put it, settle it, advance; sleep when there is
//! nothing to do.

use std::time::{Duration, Instant};

use backoff::{BackoffBuilder, ExponentialBuilder};
use outbox_schema::{SchemaError, Source};
use runtime::Chain;
use sqlx::PgConnection;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::doorbell::Doorbell;
use crate::leader::{self, Watch};
use crate::outbox::{self, Cursor, Outbox, Window};
use crate::put::{Pace, put_all};
use crate::retention;
use crate::rhythm::{Next, Rhythm};
use crate::settle::settle;

const STANDBY_LOOKS_EVERY: Duration = Duration::from_millis(500);

/// What one relay process may be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who writes the cursor, for people who look at it.
    pub name: String,
    /// How many events one read takes.
    pub page_max: usize,
    /// How long events stay in the outbox after they were put.
    pub retention: Duration,
    /// How long a sleeping relay trusts the doorbell before it looks for itself.
    pub fallback: Duration,
}

/// Relays one database's outbox until `stop`. Databases that are down are waited for.
///
/// # Errors
///
/// Only what waiting does not mend: a schema that this build can't work with.
pub async fn run<B: Bus>(
    source: &Source,
    mut bus: B,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), SchemaError> {
    let fresh_backoff = || {
        let seconds = |s| Duration::from_secs_f64(s);
        ExponentialBuilder::default()
            .with_min_delay(seconds(0.2))
            .with_max_delay(seconds(5.0))
            .without_max_times()
            .with_jitter()
            .build()
    };
    let mut backoff = fresh_backoff();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let error = match term(source, &mut bus, settings, stop).await {
            Ok(()) => continue,
            Err(TermError::Schema(error)) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        if began.elapsed() > Duration::from_secs(30) {
            backoff = fresh_backoff();
        }
        let wait = backoff.next().unwrap_or(Duration::from_secs(5));
        tracing::warn!(
            source = source.name(),
            error = %Chain(&error),
            retry_in_seconds = wait.as_secs_f64(),
            "not relaying: connecting again"
        );
        sleep(wait, stop).await;
    }
    Ok(())
}

/// One term: connect, stand by, lead until something breaks or the relay is to stop.
async fn term<B: Bus>(
    source: &Source,
    bus: &mut B,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), TermError> {
    let mut conn = source.connect("outbox relay (leader)", &outbox::SESSION).await?;
    outbox_schema::check(&mut conn).await?;
    if !stand_by(source, &mut conn, stop).await? {
        return Ok(());
    }
    tracing::info!(source = source.name(), relay = settings.name, "leading");
    metrics::gauge!("outbox_relay_leader", "source" => source.name().to_owned()).set(1.0);
    let led = lead(source, conn, bus, settings, stop).await;
    metrics::gauge!("outbox_relay_leader", "source" => source.name().to_owned()).set(0.0);
    tracing::info!(source = source.name(), relay = settings.name, "stepped down");
    led
}

/// Waits for the lead. `false` if the relay is to stop first.
async fn stand_by(
    source: &Source,
    conn: &mut PgConnection,
    stop: &CancellationToken,
) -> Result<bool, sqlx::Error> {
    let mut watch = Watch::new(Instant::now());
    let mut said = false;
    while !stop.is_cancelled() {
        if leader::try_lead(conn).await? {
            return Ok(true);
        }
        if !std::mem::replace(&mut said, true) {
            tracing::info!(source = source.name(), "standing by: another relay leads");
        }
        let ended = watch.look(conn).await?;
        if ended > 0 {
            tracing::warn!(source = source.name(), sessions = ended, "the leader hangs: ended its sessions");
        }
        sleep(STANDBY_LOOKS_EVERY, stop).await;
    }
    Ok(false)
}

async fn lead<B: Bus>(
    source: &Source,
    mut conn: PgConnection,
    bus: &mut B,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), TermError> {
    // What runs beside the leader, for as long as this term.
    let mut beside = JoinSet::new();
    beside.spawn(leader::beat(source.clone()));
    outbox_schema::within(bus.begin(&mut conn)).await?;
    let (outbox, cursor) = Outbox::open(conn, &settings.name).await?;
    let bell = Doorbell::listen(source).await?;
    beside.spawn(retention::run(source.clone(), settings.retention));

    let rhythm = Rhythm::new(Instant::now());
    let pace = Pace::default();
    let mut leader = Leader { source, bus, settings, outbox, cursor, bell, rhythm, pace };
    let led = leader.run(stop).await;

    beside.abort_all();
    leader.bell.close().await;
    let closed = leader.outbox.close().await;
    led?;
    closed?;
    Ok(())
}

struct Leader<'a, B> {
    source: &'a Source,
    bus: &'a B,
    settings: &'a Settings,
    outbox: Outbox,
    cursor: Cursor,
    bell: Doorbell,
    rhythm: Rhythm,
    pace: Pace,
}

impl<B: Bus> Leader<'_, B> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        while !stop.is_cancelled() {
            let window = self.outbox.next_window(&self.cursor, self.settings.page_max).await?;
            let moved = self.relay(window, stop).await?;
            match self.rhythm.after_read(moved, Instant::now()) {
                Next::Read(pause) if pause.is_zero() => {}
                Next::Read(pause) => {
                    self.woken_by("linger");
                    sleep(pause, stop).await;
                }
                Next::Sleep => self.doze(stop).await?,
            }
        }
        Ok(())
    }

    /// One turn: everything in the window is put, what became of it decides how far the cursor goes, and that is
    /// made durable. Returns how many events moved.
    async fn relay(&mut self, window: Window, stop: &CancellationToken) -> Result<usize, sqlx::Error> {
        self.show_lag(&window);
        if window.entries.is_empty() && self.cursor.page.is_none() {
            return Ok(0);
        }
        let outcomes = put_all(self.bus, &window.entries, &mut self.pace, stop).await;
        let settled = settle(&self.cursor, &window, &outcomes);
        self.outbox.advance(self.bus, &window, &settled).await?;
        self.count(&window, &settled);
        self.cursor = settled.cursor;
        // An empty last page moved the cursor and nothing else: that is still a reason to read on.
        Ok(window.entries.len().max(1))
    }

    /// Falls asleep if no publisher still counts on the relay being awake, and comes back awake.
    async fn doze(&mut self, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        if !self.bell.hush().await? {
            sleep(self.rhythm.drowse(), stop).await;
            return Ok(());
        }
        // Whoever got the lock shared before us has committed, and is seen by this read; whoever comes later rings.
        let window = self.outbox.next_window(&self.cursor, self.settings.page_max).await?;
        if !window.entries.is_empty() || self.cursor.page.is_some() {
            // First awake, then busy: a bus may be away for long, and publishers should not ring all that time.
            self.bell.open().await?;
            return self.relay(window, stop).await.map(|_| ());
        }
        let cause = self.sleep(stop).await?;
        self.woken_by(cause.name());
        self.bell.forget();
        let (opened, window) =
            tokio::join!(self.bell.open(), self.outbox.next_window(&self.cursor, self.settings.page_max));
        opened?;
        let found = self.relay(window?, stop).await?;
        if cause == Cause::Fallback
            && found > 0
            && !self.bell.rings_within(Duration::from_millis(250)).await?
        {
            metrics::counter!("outbox_relay_fallback_found_total", "source" => self.source.name().to_owned())
                .increment(found as u64);
            tracing::warn!(source = self.source.name(), events = found, "found events that nobody rang for");
        }
        self.rhythm.after_read(found, Instant::now());
        Ok(())
    }

    async fn sleep(&mut self, stop: &CancellationToken) -> Result<Cause, sqlx::Error> {
        tokio::select! {
            rung = self.bell.rung() => rung.map(|()| Cause::Doorbell),
            () = tokio::time::sleep(self.settings.fallback) => Ok(Cause::Fallback),
            () = stop.cancelled() => Ok(Cause::Stop),
        }
    }

    fn woken_by(&self, cause: &'static str) {
        metrics::counter!("outbox_relay_wakeups_total", "source" => self.source.name().to_owned(), "cause" => cause)
            .increment(1);
    }

    fn show_lag(&self, window: &Window) {
        let oldest = window.entries.iter().map(|entry| entry.occurred_at).min();
        let lag = oldest.map_or(0.0, seconds_since);
        metrics::gauge!("outbox_relay_lag_seconds", "source" => self.source.name().to_owned()).set(lag);
    }

    fn count(&self, window: &Window, settled: &crate::settle::Settled) {
        let source = || self.source.name().to_owned();
        let events = |outcome: &'static str, n: usize| {
            metrics::counter!("outbox_relay_events_total", "source" => source(), "outcome" => outcome)
                .increment(n as u64);
        };
        events("put", settled.acked.len());
        events("parked", settled.parked.len());
        let put_seconds = metrics::histogram!("outbox_relay_enqueue_to_put_seconds", "source" => source());
        for &at in &settled.acked {
            put_seconds.record(seconds_since(window.entries[at].occurred_at));
        }
        for (at, code, reason) in &settled.parked {
            let event_id = window.entries[*at].id;
            tracing::error!(source = self.source.name(), %event_id, code, reason, "parked: the bus refused it for good");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Doorbell,
    Fallback,
    Stop,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Cause::Doorbell => "doorbell",
            Cause::Fallback => "fallback",
            Cause::Stop => "stop",
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum TermError {
    #[error("the database can't be used")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

fn seconds_since(then: chrono::DateTime<chrono::Utc>) -> f64 {
    (chrono::Utc::now() - then).num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}

async fn sleep(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = stop.cancelled() => {}
    }
}
