//! A relay in this process, with a bus that only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outbox_event::Envelope;
use outbox_postgres::Source;
use outbox_relay::bus::Bus;
use outbox_relay::relay::Settings;
use outbox_runtime::{Readiness, Standing, Tracer};
use outbox_transport::{BusLimits, PutError, RemoteBus};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::result::Result;

/// Longer than any benchmark, because events are put again after `rewind`.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A relay that runs until it is stopped.
pub(crate) struct Relaying {
    stop: CancellationToken,
    relay: JoinHandle<()>,
}

impl Relaying {
    pub(crate) fn start<R: RemoteBus + 'static>(source: &Source, bus: Bus<R>) -> Self {
        Self::keeping(source, bus, RETENTION)
    }

    /// Events stay in the outbox for this retention.
    pub(crate) fn keeping<R: RemoteBus + 'static>(source: &Source, bus: Bus<R>, retention: Duration) -> Self {
        let stop = CancellationToken::new();
        let settings = Settings {
            name: "bench".to_owned(),
            page_max: outbox_relay::config::PAGE_MAX as usize,
            retention,
            router: None,
            fallback: Duration::from_secs(5),
            tracer: Tracer::default(),
            address: None,
        };
        let standing = Standing::alone(&Readiness::default(), "relaying", source.name());
        let relay =
            tokio::spawn(outbox_relay::relay::run(source.clone(), bus, settings, standing, stop.clone()));
        Self { stop, relay }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.relay.await?)
    }
}

/// A bus that accepts everything at once, calls `each` for every event, and counts them.
#[derive(Debug)]
pub(crate) struct Sink<F = fn(&Envelope<'_>)> {
    each: F,
    count: Count,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<(AtomicUsize, Notify)>);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// The time when so many events had been put.
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

pub(crate) fn sink() -> (Bus<Sink>, Count) {
    fn nothing(_: &Envelope<'_>) {}
    sink_with(nothing as fn(&Envelope<'_>))
}

pub(crate) fn sink_with<F: Fn(&Envelope<'_>)>(each: F) -> (Bus<Sink<F>>, Count) {
    let count = Count::default();
    (Bus::Remote(Sink { each, count: count.clone() }), count)
}

impl<F: Fn(&Envelope<'_>) + Send + Sync> RemoteBus for Sink<F> {
    fn limits(&self) -> BusLimits {
        BusLimits { entries_max: usize::MAX, bytes_max: usize::MAX, concurrency: 1 }
    }

    async fn put(&self, events: &[&Envelope<'_>]) -> Vec<std::result::Result<(), PutError>> {
        events.iter().for_each(|event| (self.each)(event));
        self.count.0.0.fetch_add(events.len(), Ordering::Relaxed);
        self.count.0.1.notify_waiters();
        vec![Ok(()); events.len()]
    }
}

/// The relay's rate over `events` in the outbox, per second, on a bus that accepts everything: from the first put to the
/// last, without connecting.
pub(crate) async fn drained_per_second(source: &Source, events: usize) -> Result<f64> {
    let (bus, count) = sink();
    let relay = Relaying::start(source, bus);
    let began = count.reaches(1).await;
    let first = count.now();
    let ended = tokio::time::timeout(Duration::from_secs(600), count.reaches(events)).await;
    let ended = ended.map_err(|_| format!("{} of {events} events after 600 s", count.now()))?;
    relay.stop().await?;
    Ok((events - first) as f64 / (ended - began).as_secs_f64())
}
