//! The relay's life: stand by, lead, and in the lead: read a window, put it, settle it, advance; sleep when there is
//! nothing to do.

use std::time::{Duration, Instant};

use backoff::{BackoffBuilder, ExponentialBuilder};
use outbox_schema::{SchemaError, Source};
use runtime::{Chain, Part, Tracer};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::doorbell::Doorbell;
use crate::leader::{self, Watch};
use crate::outbox::{self, Cursor, Outbox, Window};
use crate::progress::Progress;
use crate::put::{Pace, put_all};
use crate::retention;
use crate::rhythm::{Next, Rhythm};
use crate::settle::{cursor_after, settle};
use crate::trace;

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
    pub tracer: Tracer,
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
    part: Part,
    stop: &CancellationToken,
) -> Result<(), SchemaError> {
    let progress = Progress::new(source.name(), part);
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
        let error = match term(source, &mut bus, settings, &progress, stop).await {
            Ok(()) => continue,
            Err(TermError::Schema(error)) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        if began.elapsed() > Duration::from_secs(30) {
            backoff = fresh_backoff();
        }
        let wait = backoff.next().unwrap_or(Duration::from_secs(5));
        progress.waits(Chain(&error).to_string());
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
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), TermError> {
    let mut conn = source.connect("outbox relay (leader)", &outbox::SESSION).await?;
    outbox_schema::check(&mut conn).await?;
    if !stand_by(source, &mut conn, progress, stop).await? {
        return Ok(());
    }
    tracing::info!(source = source.name(), relay = settings.name, "leading");
    progress.leads(true);
    let led = lead(source, conn, bus, settings, progress, stop).await;
    progress.leads(false);
    tracing::info!(source = source.name(), relay = settings.name, "stepped down");
    led
}

/// Waits for the lead. `false` if the relay is to stop first.
async fn stand_by(
    source: &Source,
    conn: &mut PgConnection,
    progress: &Progress,
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
        progress.moves();
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
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), TermError> {
    // What runs beside the leader, for as long as this term.
    let mut beside = JoinSet::new();
    beside.spawn(leader::beat(source.clone()));
    beside.spawn(progress.clone().show());
    outbox_schema::within(bus.begin(&mut conn)).await?;
    let (outbox, cursor) = Outbox::open(conn, &settings.name).await?;
    let bell = Doorbell::listen(source).await?;
    beside.spawn(retention::run(source.clone(), settings.retention));

    let rhythm = Rhythm::new(Instant::now());
    let pace = Pace::default();
    let mut leader = Leader { bus, settings, progress, outbox, cursor, ahead: None, bell, rhythm, pace };
    let led = leader.run(stop).await;

    beside.abort_all();
    leader.bell.close().await;
    let closed = leader.outbox.close().await;
    led?;
    closed?;
    Ok(())
}

struct Leader<'a, B> {
    bus: &'a B,
    settings: &'a Settings,
    progress: &'a Progress,
    outbox: Outbox,
    cursor: Cursor,
    /// The page that comes next if the cursor gets there: read while the one before it was put.
    ahead: Option<(Cursor, Window)>,
    bell: Doorbell,
    rhythm: Rhythm,
    pace: Pace,
}

impl<B: Bus> Leader<'_, B> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        while !stop.is_cancelled() {
            let window = match self.ahead.take() {
                Some((cursor, window)) if cursor == self.cursor => window,
                _ => self.outbox.next_window(&self.cursor, self.settings.page_max).await?,
            };
            let moved = self.relay(window, stop).await?;
            match self.rhythm.after_read(moved, Instant::now()) {
                Next::Read(pause) if pause.is_zero() => {}
                Next::Read(pause) => {
                    self.progress.woken_by("linger");
                    sleep(pause, stop).await;
                }
                Next::Sleep => self.doze(stop).await?,
            }
        }
        Ok(())
    }

    /// One turn: everything in the window is put, while the page after it is read. What became of it decides how far the
    /// cursor goes, and that is made durable. Returns how many events moved.
    async fn relay(&mut self, mut window: Window, stop: &CancellationToken) -> Result<usize, sqlx::Error> {
        self.progress.begins(&window);
        if window.entries.is_empty() && self.cursor.page.is_none() {
            return Ok(0);
        }
        let spans = trace::begin(&self.settings.tracer, self.progress.source(), &mut window.entries);
        let next = (!window.complete).then(|| cursor_after(&self.cursor, &window, window.entries.len()));
        let (outcomes, ahead) = tokio::join!(
            put_all(self.bus, &window.entries, &mut self.pace, self.progress, stop),
            read_ahead(&mut self.outbox, next, self.settings.page_max),
        );
        trace::end(spans, &outcomes);
        let settled = settle(&self.cursor, &window, &outcomes);
        self.outbox.advance(self.bus, &window, &settled).await?;
        self.progress.ends(&window, &settled);
        self.cursor = settled.cursor;
        self.ahead = ahead?;
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
        self.progress.woken_by(cause.name());
        self.bell.forget();
        let (opened, window) =
            tokio::join!(self.bell.open(), self.outbox.next_window(&self.cursor, self.settings.page_max));
        opened?;
        let found = self.relay(window?, stop).await?;
        if cause == Cause::Fallback
            && found > 0
            && !self.bell.rings_within(Duration::from_millis(250)).await?
        {
            self.progress.found_by_fallback(found);
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
}

async fn read_ahead(
    outbox: &mut Outbox,
    next: Option<Cursor>,
    page_max: usize,
) -> Result<Option<(Cursor, Window)>, sqlx::Error> {
    let Some(next) = next else { return Ok(None) };
    let window = outbox.next_window(&next, page_max).await?;
    Ok(Some((next, window)))
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

async fn sleep(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = stop.cancelled() => {}
    }
}
