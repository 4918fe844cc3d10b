//! The relay's lifecycle: stand by, then lead. A leader reads a window, puts it, settles it, advances, or sleeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_event_router::Router;
use outbox_postgres::leader;
use outbox_postgres::outbox::{Appetite, Cursor, Outbox, Parked, Window};
use outbox_postgres::{
    Beside, Doorbell, Listening, PostgresBus, ProcessRow, SESSION, Source, retention, within,
};
use outbox_runtime::{Standing, Tracer, Trouble};
use outbox_transport::{RemoteBus, process::shown_beside};
use sqlx::Connection;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::idle::{IdlePolicy, Next, Turn};
use crate::metrics::Progress;
use crate::names::{self, Names};
use crate::process;
use crate::put::PutLimiter;
use crate::settle::{Settled, cursor_after, settle};
use crate::standby::stand_by;
use crate::term_error::TermError;
use crate::trace;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The relay's name in the cursor, for operators.
    pub name: String,
    /// How many events one read takes.
    pub page_max: usize,
    /// How long events stay in the outbox after they were put.
    pub retention: Duration,
    /// How often a sleeping relay reads without being woken.
    pub fallback: Duration,
    pub tracer: Tracer,
    /// On a remote bus: its event_router.yaml, if one was named. Without it no name of an event is unknown.
    pub router: Option<watch::Receiver<Arc<Router>>>,
    /// Where it serves metrics and health.
    pub address: Option<String>,
}

/// Relays one database's outbox until `stop`. It waits for a database that is down, or that has no schema for this build.
pub async fn run<R: RemoteBus + 'static>(
    source: Source,
    bus: Bus<R>,
    settings: Settings,
    standing: Standing,
    stop: CancellationToken,
) {
    let progress = Progress::new(source.name(), standing.part().clone());
    let of = (source.name(), standing.part().readiness());
    let shown = process::Shown::new(of, &settings.name, settings.address.clone(), bus.routes());
    let beside = source.beside("outbox relay (beside)");
    let row = ProcessRow::beside(beside.clone());
    let router = bus.routes().map(PostgresBus::newest).or_else(|| settings.router.clone());
    let names = Names::new(source.name(), router);
    let kept = Arc::new(Mutex::new(Kept { bus, appetite: Appetite::default(), led: None, names }));
    let term = || {
        let (source, settings, progress) = (source.clone(), settings.clone(), progress.clone());
        let (standing, stop, kept) = (standing.clone(), stop.clone(), Arc::clone(&kept));
        let beside = beside.clone();
        async move {
            let mut kept = kept.lock().await;
            let term = Term {
                source: &source,
                beside: &beside,
                settings: &settings,
                progress: &progress,
                standing: &standing,
                stop: &stop,
            };
            term.run(&mut kept).await.map_err(|error| Trouble::of(&error, error.is_transient()))
        }
    };
    let work = Box::pin(standing.tend(&stop, term));
    shown_beside(work, row, shown).await;
}

/// The state that outlives a term.
struct Kept<R> {
    bus: Bus<R>,
    appetite: Appetite,
    /// The last term that this relay led. If no other relay has led since, its session may still exist: this relay gave it up.
    led: Option<i64>,
    names: Arc<Names>,
}

/// One term: connect, stand by, lead until an error or a stop.
struct Term<'a> {
    source: &'a Source,
    /// The statements of the tasks beside the leader.
    beside: &'a Beside,
    settings: &'a Settings,
    progress: &'a Progress,
    standing: &'a Standing,
    stop: &'a CancellationToken,
}

impl Term<'_> {
    async fn run<R: RemoteBus>(&self, kept: &mut Kept<R>) -> Result<(), TermError> {
        // A term that panicked could not do this.
        self.progress.leads(false);
        // Closed before the session is opened, so a database never needs two connections at once.
        let mut conn = self.source.connect(leader::APPLICATION, &SESSION).await?;
        outbox_schema::check(&mut conn).await?;
        within(conn.close()).await?;
        // A usable database is not yet progress.
        self.standing.fits();
        let session = Listening::open(self.source, leader::APPLICATION, &SESSION).await?;
        self.beside.over(&session);
        let termed = self.serve(&session, kept).await;
        // After an error it may be in the middle of a statement. Then the next term ends it.
        session.close().await;
        termed
    }

    async fn serve<R: RemoteBus>(&self, session: &Listening, kept: &mut Kept<R>) -> Result<(), TermError> {
        let (name, progress) = (&self.settings.name, self.progress);
        let Some(term) = stand_by(session, name, progress, kept.led, self.stop).await? else { return Ok(()) };
        kept.led = Some(term);
        tracing::info!(source = self.source.name(), relay = self.settings.name, term, "leading");
        self.progress.leads(true);
        let led = self.lead(session, term, kept).await;
        self.progress.leads(false);
        tracing::info!(source = self.source.name(), relay = self.settings.name, term, "stepped down");
        led
    }

    async fn lead<R: RemoteBus>(
        &self,
        session: &Listening,
        term: i64,
        kept: &mut Kept<R>,
    ) -> Result<(), TermError> {
        let Kept { bus, appetite, names, .. } = kept;
        let (source, progress) = (self.source, self.progress);
        // The tasks beside the leader, which end with this term.
        let mut beside = JoinSet::new();
        beside.spawn(leader::beat(source.name().to_owned(), self.beside.clone(), term));
        beside.spawn(progress.clone().show());
        let mut lent = session.lend().await?;
        within(bus.begin(lent.conn().await?)).await?;
        names.know(lent.conn().await?).await?;
        lent.give_back();
        let (name, part) = (&self.settings.name, self.standing.part());
        let (outbox, cursor) =
            Outbox::open(session.clone(), name, appetite, bus.routes(), source.name(), part).await?;
        let doorbell = Doorbell::listen(session.clone()).await?;
        beside.spawn(names::tell(self.beside.clone(), Arc::clone(names)));
        beside.spawn(retention::run(source.clone(), self.settings.retention));
        let idle = IdlePolicy::new(Instant::now());
        let limiter = PutLimiter::default();
        let settings = self.settings;
        let mut leader =
            Leader { bus, settings, progress, names, outbox, cursor, ahead: None, doorbell, idle, limiter };
        // A task beside the leader ends when another relay leads, or with a panic.
        let led = tokio::select! {
            led = leader.run(self.stop) => led,
            Some(ended) = beside.join_next() => return Err(match ended {
                Ok(()) => TermError::Deposed,
                Err(panicked) => TermError::Beside(panicked),
            }),
        };
        led?;
        Ok(leader.outbox.close(term).await?)
    }
}

struct Leader<'a, R> {
    bus: &'a Bus<R>,
    settings: &'a Settings,
    progress: &'a Progress,
    names: &'a Names,
    outbox: Outbox<'a>,
    cursor: Cursor,
    /// The page that comes next if the cursor gets there. It is read while the page before it is put.
    ahead: Option<(Cursor, Window)>,
    doorbell: Doorbell,
    idle: IdlePolicy,
    limiter: PutLimiter,
}

impl<R: RemoteBus> Leader<'_, R> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), TermError> {
        while !stop.is_cancelled() {
            let began = Instant::now();
            let window = match self.ahead.take() {
                Some((cursor, window)) if cursor == self.cursor => window,
                _ => self.next_window().await?,
            };
            let moved = self.relay(window, stop).await?;
            match self.turned(moved, began) {
                Next::Read(pause) if pause.is_zero() => {}
                Next::Read(pause) => {
                    self.progress.wakeups("linger", 1);
                    linger(pause).await;
                }
                Next::Sleep => self.try_sleep(stop).await?,
            }
        }
        Ok(())
    }

    /// One turn: puts the window while the next page is read, settles it, and advances the cursor durably. Returns how many
    /// events moved, and at least 1 if the cursor moved.
    async fn relay(&mut self, window: Window, stop: &CancellationToken) -> Result<usize, TermError> {
        self.progress.begins(&window);
        // A page of rows that are not visible yet has no entry, and still moves the cursor.
        if window.entries.is_empty() && window.complete && self.cursor.page.is_none() {
            return Ok(0);
        }
        self.outbox.follow_routes().await?;
        let (tracer, source) = (&self.settings.tracer, self.progress.source());
        let mut envelopes: Vec<_> = window.entries.iter().map(|entry| entry.envelope(source)).collect();
        let spans = trace::begin(tracer, source, &window.entries, &mut envelopes);
        let next = (!window.complete).then(|| cursor_after(&self.cursor, &window, window.entries.len()));
        let ((outcomes, deliveries), ahead) = tokio::join!(
            self.bus.take(&window.entries, &envelopes, &mut self.limiter, self.progress, stop),
            read_ahead(&mut self.outbox, next, self.settings.page_max),
        );
        trace::end(spans, &outcomes);
        let settled = settle(&self.cursor, &window, &outcomes);
        let parked = parked(&window, &settled);
        if !self.outbox.advance(&settled.cursor, &deliveries, &parked, self.settings.page_max).await? {
            return Err(TermError::Deposed);
        }
        self.progress.ends(&window, &settled);
        self.names.note(settled.acked.iter().map(|&at| &window.entries[at]), Instant::now());
        self.cursor = settled.cursor;
        self.ahead = ahead?;
        // A page without events moved the cursor: a reason to read on.
        Ok(window.entries.len().max(1))
    }

    /// Sleeps if no publisher relies on the relay being awake, and returns awake.
    async fn try_sleep(&mut self, stop: &CancellationToken) -> Result<(), TermError> {
        if !self.doorbell.try_lock().await? {
            stop.run_until_cancelled(tokio::time::sleep(self.idle.backoff())).await;
            return Ok(());
        }
        // A publisher that held the lock shared has committed, so this read sees its events. A later publisher notifies.
        let mut window = self.next_window().await?;
        let mut cause = None;
        while window.entries.is_empty() && window.complete && self.cursor.page.is_none() {
            let woken = self.sleep(stop).await?;
            cause = Some(woken);
            self.progress.wakeups(woken.name(), 1);
            if woken != Cause::Fallback {
                let began = Instant::now();
                self.doorbell.drain().await;
                let window = self.outbox.wake(&self.cursor, self.settings.page_max).await?;
                let found = self.relay(window, stop).await?;
                self.turned(found, began);
                return Ok(());
            }
            // Most likely in vain: so it keeps the lock, and sleeps on.
            window = self.next_window().await?;
            self.progress.moves();
        }
        // Unlock before putting: the bus may be away for long, and publishers should not notify all that time.
        let began = Instant::now();
        self.doorbell.unlock().await?;
        let found = self.relay(window, stop).await?;
        if cause.is_some() && found > 0 && !self.doorbell.recv_within(Duration::from_millis(250)).await? {
            self.progress.found_by_fallback(found);
        }
        self.turned(found, began);
        Ok(())
    }

    fn turned(&mut self, events: usize, began: Instant) -> Next {
        let now = Instant::now();
        self.idle.after(Turn { events, more: self.cursor.page.is_some(), took: now - began }, now)
    }

    async fn next_window(&mut self) -> Result<Window, sqlx::Error> {
        self.outbox.next_window(&self.cursor, self.settings.page_max).await
    }

    async fn sleep(&mut self, stop: &CancellationToken) -> Result<Cause, sqlx::Error> {
        tokio::select! {
            received = self.doorbell.recv() => received.map(|()| Cause::Doorbell),
            () = tokio::time::sleep(self.settings.fallback) => Ok(Cause::Fallback),
            () = stop.cancelled() => Ok(Cause::Stop),
        }
    }
}

fn parked<'a>(window: &'a Window, settled: &'a Settled) -> Vec<Parked<'a>> {
    let parked = |(at, code, reason): &'a (usize, String, String)| Parked {
        entry: &window.entries[*at],
        code,
        reason,
    };
    settled.parked.iter().map(parked).collect()
}

/// Tokio's timer counts in whole milliseconds, and a pause is much shorter. The runtime's own threads must not sleep.
async fn linger(pause: Duration) {
    // It fails only while the runtime ends.
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(pause)).await;
}

async fn read_ahead(
    outbox: &mut Outbox<'_>,
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
