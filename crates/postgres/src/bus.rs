use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use outbox_event::Envelope;
use outbox_event_router::{Router, Rpc};
use outbox_runtime::Guarded;
use sqlx::PgConnection;
use tokio::sync::watch;
use uuid::Uuid;

/// The bus of the transport `postgres`: the relay itself applies the routes of `event_router.yaml`. The transaction that
/// advances the cursor writes the deliveries, so an event moves from the outbox to its queues exactly once.
#[derive(Debug)]
pub struct PostgresBus {
    source: String,
    /// The newest file.
    newest: watch::Receiver<Arc<Router>>,
    /// The routes in use. They change only between two batches.
    routes: Guarded<Arc<Routes>>,
}

#[derive(Debug)]
struct Routes {
    router: Arc<Router>,
    queues: HashMap<Rpc, i32>,
}

impl PostgresBus {
    pub fn new(source: &str, router: Router) -> Self {
        // Without a sender the value stays.
        Self::following(source, watch::channel(Arc::new(router)).1)
    }

    /// A bus whose routes follow the newest file.
    pub fn following(source: &str, newest: watch::Receiver<Arc<Router>>) -> Self {
        let router = Arc::clone(&newest.borrow());
        let routes = Guarded::new(Arc::new(Routes { router, queues: HashMap::new() }));
        Self { source: source.to_owned(), newest, routes }
    }

    /// Prepares the queues at the start of a leader's term.
    pub async fn begin(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone()).increment(0);
        self.use_newest(conn).await
    }

    pub(crate) fn is_newest(&self) -> bool {
        Arc::ptr_eq(&self.routes().router, &self.newest.borrow())
    }

    /// Takes up a new file, between two batches. Its queues exist before the first event is routed to them.
    pub(crate) async fn follow(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.use_newest(conn).await
    }

    async fn use_newest(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let router = Arc::clone(&self.newest.borrow());
        let queues = crate::queue::ids(conn, router.rpcs().map(|(rpc, _)| rpc)).await?;
        *self.routes.lock() = Arc::new(Routes { router, queues });
        Ok(())
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.lock())
    }

    /// The newest file. The next batch is routed by it.
    pub fn newest(&self) -> watch::Receiver<Arc<Router>> {
        self.newest.clone()
    }

    pub fn copies(&self, name: &str) -> usize {
        self.routes().router.subscribers(name).len()
    }

    /// One delivery for each subscriber of these events.
    pub fn route<'a>(&self, events: impl IntoIterator<Item = &'a Envelope<'a>>) -> Deliveries {
        let (mut deliveries, Routes { router, queues }) = (Deliveries::default(), &*self.routes());
        let mut routes: HashMap<&str, (i32, i32)> = HashMap::new();
        for event in events {
            let rpcs = router.subscribers(&event.name);
            if rpcs.is_empty() {
                metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone())
                    .increment(1);
                tracing::debug!(event_id = %event.id, event = %event.name, "no subscriber: kept in the history only");
                continue;
            }
            let (first, last) = *routes.entry(&event.name).or_insert_with(|| {
                let first = deliveries.queues.len() + 1;
                deliveries.queues.extend(rpcs.iter().map(|rpc| queues[rpc]));
                // An RPC's name needs no escapes in JSON.
                deliveries.rpcs.extend(rpcs.iter().map(ToString::to_string));
                let index = |at: usize| i32::try_from(at).expect("a router has few routes");
                (index(first), index(deliveries.queues.len()))
            });
            deliveries.first.push(first);
            deliveries.last.push(last);
            deliveries.events.push(event.id.as_uuid());
            deliveries.envelopes.push(serde_json::to_string(event).expect("an envelope serializes"));
        }
        deliveries
    }
}

/// New deliveries, column by column. An envelope stands here once, however many subscribers its event has.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Per event.
    pub(crate) events: Vec<Uuid>,
    pub envelopes: Vec<String>,
    /// The range of its subscribers in the two columns below, from 1, including both ends.
    pub(crate) first: Vec<i32>,
    pub(crate) last: Vec<i32>,
    /// Per subscriber.
    pub queues: Vec<i32>,
    pub(crate) rpcs: Vec<String>,
}

impl Deliveries {
    pub(crate) fn woken(&self) -> Vec<i32> {
        self.queues.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
