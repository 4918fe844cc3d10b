//! A relay within this process, and a bus that only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outbox_schema::Source;
use relay::Entry;
use relay::bus::{Bus, Deliveries, Limits, PutError};
use relay::relay::Settings;
use runtime::{Readiness, Standing, Tracer};
use sqlx::PgConnection;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::result::Result;

type Done = std::result::Result<(), sqlx::Error>;

/// Longer than any bench: what was put is put again.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A relay that runs until it is stopped.
pub(crate) struct Relaying {
    stop: CancellationToken,
    relay: JoinHandle<()>,
}

impl Relaying {
    pub(crate) fn start<B: Bus + 'static>(source: &Source, bus: B) -> Self {
        Self::keeping(source, bus, RETENTION)
    }

    /// Events stay in the outbox for so long.
    pub(crate) fn keeping<B: Bus + 'static>(source: &Source, bus: B, retention: Duration) -> Self {
        let stop = CancellationToken::new();
        let settings = Settings {
            name: "bench".to_owned(),
            page_max: relay::config::PAGE_MAX as usize,
            retention,
            fallback: Duration::from_secs(5),
            tracer: Tracer::default(),
        };
        let standing = Standing::alone(&Readiness::default(), "relaying", source.name());
        let relay = tokio::spawn(relay::relay::run(source.clone(), bus, settings, standing, stop.clone()));
        Self { stop, relay }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.relay.await?)
    }
}

/// A bus that takes everything at once.
#[derive(Debug)]
pub(crate) struct Sink;

impl Bus for Sink {
    fn limits(&self) -> Limits {
        Limits { entries_max: usize::MAX, bytes_max: usize::MAX, concurrency: 1, atomic: true }
    }

    async fn begin(&mut self, _: &mut PgConnection) -> Done {
        Ok(())
    }

    async fn put(&self, entries: &[&Entry]) -> Vec<std::result::Result<(), PutError>> {
        vec![Ok(()); entries.len()]
    }
}

/// A bus that counts what another one is given.
#[derive(Debug)]
pub(crate) struct Counted<B, F> {
    bus: B,
    count: Count,
    each: F,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<(AtomicUsize, Notify)>);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// When so many had been put.
    pub(crate) async fn reaches(&self, count: usize) -> Instant {
        loop {
            let more = self.0.1.notified();
            if self.now() >= count {
                return Instant::now();
            }
            more.await;
        }
    }
}

/// `each` is called for every event that is put.
pub(crate) fn counted<B: Bus, F: Fn(&Entry)>(bus: B, each: F) -> (Counted<B, F>, Count) {
    let count = Count::default();
    (Counted { bus, count: count.clone(), each }, count)
}

impl<B: Bus, F: Fn(&Entry) + Send + Sync> Bus for Counted<B, F> {
    fn limits(&self) -> Limits {
        self.bus.limits()
    }

    async fn begin(&mut self, conn: &mut PgConnection) -> Done {
        self.bus.begin(conn).await
    }

    async fn put(&self, entries: &[&Entry]) -> Vec<std::result::Result<(), PutError>> {
        entries.iter().for_each(|entry| (self.each)(entry));
        let results = self.bus.put(entries).await;
        self.count.0.0.fetch_add(entries.len(), Ordering::Relaxed);
        self.count.0.1.notify_waiters();
        results
    }

    fn copies(&self, name: &str) -> usize {
        self.bus.copies(name)
    }

    fn deliveries(&self, acked: &[&Entry]) -> Deliveries {
        self.bus.deliveries(acked)
    }
}

/// How fast a relay puts `events` that stand in the outbox on `bus`, per second: from the first put to the last, so that
/// connecting does not count.
pub(crate) async fn drained_per_second<B: Bus + 'static>(
    source: &Source,
    bus: B,
    events: usize,
) -> Result<f64> {
    let (bus, count) = counted(bus, |_| {});
    let relay = Relaying::start(source, bus);
    let began = count.reaches(1).await;
    let first = count.now();
    let ended = tokio::time::timeout(Duration::from_secs(600), count.reaches(events)).await;
    let ended = ended.map_err(|_| format!("{} of {events} events after 600 s", count.now()))?;
    relay.stop().await?;
    Ok((events - first) as f64 / (ended - began).as_secs_f64())
}
