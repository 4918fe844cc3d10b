//! Events whose name event_router.yaml does not list. Most likely it is misspelt, and then no RPC gets the event: so each such
//! name is logged, counted, and written down for `outbox status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_event::EventId;
use outbox_event_router::Router;
use outbox_postgres::{Beside, names};
use outbox_runtime::{Chain, Guarded};
use outbox_transport::Entry;
use sqlx::PgConnection;
use tokio::sync::{Notify, watch};

/// Publishers choose the names: all beyond these are counted together, as `other`.
const NAMES_MAX: usize = 100;
const OTHER: &str = "other";
const SAID_EVERY: Duration = Duration::from_secs(3600);
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// The names that one relay knows and met. It outlives a term.
#[derive(Debug)]
pub(crate) struct Names {
    source: String,
    /// `None` if this relay has no event_router.yaml: then no name is unknown.
    /// The newest.
    router: Option<watch::Receiver<Arc<Router>>>,
    met: Guarded<BTreeMap<String, Met>>,
    news: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Met {
    /// Not written down yet.
    events: i64,
    last_event: EventId,
    said_at: Instant,
}

impl Names {
    pub(crate) fn new(source: &str, router: Option<watch::Receiver<Arc<Router>>>) -> Arc<Self> {
        let (met, news) = (Guarded::default(), Notify::new());
        Arc::new(Self { source: source.to_owned(), router, met, news })
    }

    fn router(&self) -> Option<Arc<Router>> {
        self.router.as_ref().map(|router| Arc::clone(&router.borrow()))
    }

    /// Returns once there are names to write, or `true` for another file.
    async fn next(&self, newest: &mut Option<watch::Receiver<Arc<Router>>>) -> bool {
        let changed = async {
            let Some(newest) = newest else { return std::future::pending().await };
            if newest.changed().await.is_err() {
                // Without its sender the file stays.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.news.notified() => false,
            () = changed => true,
        }
    }

    /// At the start of a leader's term, and after a reload.
    pub(crate) async fn know(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some(router) = self.router() else { return Ok(()) };
        names::know(conn, &listed(&router)).await
    }

    /// Takes note of the unknown among events that were put.
    pub(crate) fn note<'a>(&self, put: impl IntoIterator<Item = &'a Entry>, now: Instant) {
        let Some(router) = self.router() else { return };
        let mut met = self.met.lock();
        for entry in put.into_iter().filter(|entry| !router.lists(&entry.name)) {
            let is_new = !met.contains_key(&entry.name);
            if is_new && met.len() >= NAMES_MAX {
                self.count(OTHER);
                continue;
            }
            self.count(&entry.name);
            let one = met.entry(entry.name.clone());
            let one = one.or_insert(Met { events: 0, last_event: entry.id, said_at: now });
            (one.events, one.last_event) = (one.events + 1, entry.id);
            if is_new || now.duration_since(one.said_at) >= SAID_EVERY {
                one.said_at = now;
                self.say(&router, entry);
            }
            self.news.notify_one();
        }
    }

    fn count(&self, name: &str) {
        let labels = [("source", self.source.clone()), ("name", name.to_owned())];
        metrics::counter!("outbox_relay_unknown_events_total", &labels).increment(1);
    }

    fn say(&self, router: &Router, entry: &Entry) {
        tracing::warn!(
            source = self.source,
            event = entry.name,
            event_id = %entry.id,
            did_you_mean = router.similar(&entry.name),
            "nobody gets this event: event_router.yaml does not list its name"
        );
    }

    fn unwritten(&self) -> Vec<names::Unknown> {
        let met = self.met.lock();
        let unwritten = met.iter().filter(|(_, one)| one.events > 0);
        let unknown = |(name, one): (&String, &Met)| names::Unknown {
            name: name.clone(),
            events: one.events,
            last_event: one.last_event.as_uuid(),
        };
        unwritten.map(unknown).collect()
    }

    fn written(&self, written: &[names::Unknown]) {
        let mut met = self.met.lock();
        for one in written {
            if let Some(met) = met.get_mut(&one.name) {
                met.events -= one.events;
            }
        }
    }
}

fn listed(router: &Router) -> Vec<&str> {
    router.events().map(|(name, _)| name).collect()
}

/// Writes down what a leader meets and which names a new file lists, until its term ends. What can't be written is tried again.
pub(crate) async fn tell(beside: Beside, names: Arc<Names>) {
    let mut newest = names.router.clone();
    let mut is_new = false;
    loop {
        // Looked at in each turn, so that a steady flow of unknown names does not keep the file out.
        is_new |= came(&mut newest);
        if is_new {
            is_new = !known(&beside, &names).await;
        }
        let unwritten = names.unwritten();
        if unwritten.is_empty() && !is_new {
            is_new = names.next(&mut newest).await;
            continue;
        }
        if !unwritten.is_empty() {
            match names::tell(&beside, &unwritten).await {
                Ok(()) => names.written(&unwritten),
                Err(error) => {
                    tracing::debug!(source = names.source, error = %Chain(&error), "unknown names were not written down");
                }
            }
        }
        tokio::time::sleep(WRITTEN_EVERY).await;
    }
}

/// Whether another file came since the last look.
fn came(newest: &mut Option<watch::Receiver<Arc<Router>>>) -> bool {
    let Some(newest) = newest else { return false };
    let came = newest.has_changed().unwrap_or(false);
    // Not otherwise: one that comes right now would be passed over.
    if came {
        newest.mark_unchanged();
    }
    came
}

/// Names that a new file lists are no longer unknown. Returns whether that is written down: until then strict names refuse them.
async fn known(beside: &Beside, names: &Names) -> bool {
    let Some(router) = names.router() else { return true };
    match names::know_beside(beside, &listed(&router)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                source = names.source,
                error = %Chain(&error),
                "the names of the new event_router.yaml were not written down: it is tried again"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            seq: 1,
            id: EventId::new(),
            name: name.to_owned(),
            key: None,
            payload: "{}".into(),
            headers: None,
            occurred_at: chrono::Utc::now(),
            flaw: None,
        }
    }

    fn names() -> Arc<Names> {
        let yaml = "event:\n  - name: event_a\n    subscriber: [{ id: A/B }]\n  - name: event_silent\n    subscriber: []\n";
        Names::new("test", Some(watch::channel(Arc::new(Router::parse("test.yaml", yaml).unwrap())).1))
    }

    /// Guards promise 8: a name that event_router.yaml lists is known, also without subscribers, and any other is written down.
    #[test]
    fn only_names_that_are_not_listed_are_unknown() {
        let (names, now) = (names(), Instant::now());
        let put = ["event_a", "event_aa", "event_silent", "event_aa"].map(entry);
        names.note(&put, now);
        let unwritten = names.unwritten();
        let [one] = unwritten.as_slice() else { panic!("{unwritten:?}") };
        assert_eq!((one.name.as_str(), one.events), ("event_aa", 2));
        assert_eq!(one.last_event, put[3].id.as_uuid());
        names.note(&[entry("event_aa")], now);
        names.written(&unwritten);
        assert_eq!(names.unwritten()[0].events, 1, "what came meanwhile is still to be written");
        Names::new("test", None).note(&put, now);
    }

    /// Guards promise 8: another file is noticed once, also while there are names to write.
    #[test]
    fn another_file_is_noticed_once() {
        let file = || Arc::new(Router::parse("test.yaml", "event: []\n").unwrap());
        let (sender, receiver) = watch::channel(file());
        let mut newest = Some(receiver);
        assert!(!came(&mut newest));
        sender.send_replace(file());
        assert_eq!((came(&mut newest), came(&mut newest)), (true, false));
        drop(sender);
        assert!(!came(&mut newest) && !came(&mut None));
    }

    /// Guards: publishers can't fill the memory of a relay, nor its metrics, with names.
    #[test]
    fn names_are_bounded() {
        let (names, now) = (names(), Instant::now());
        let put: Vec<Entry> = (0..NAMES_MAX + 50).map(|n| entry(&format!("event_{n}"))).collect();
        names.note(&put, now);
        assert_eq!(names.unwritten().len(), NAMES_MAX);
    }
}
