use std::collections::{BTreeSet, HashMap};

use outbox_event::Envelope;
use outbox_event_router::{Router, Rpc};
use sqlx::PgConnection;
use uuid::Uuid;

/// The bus of the transport `postgres`: the relay itself applies the routes of `event_router.yaml`. The transaction that
/// advances the cursor writes the deliveries, so an event moves from the outbox to its queues exactly once.
#[derive(Debug)]
pub struct PostgresBus {
    source: String,
    router: Router,
    queues: HashMap<Rpc, i32>,
}

impl PostgresBus {
    pub fn new(source: &str, router: Router) -> Self {
        Self { source: source.to_owned(), router, queues: HashMap::new() }
    }

    /// Prepares the queues at the start of a leader's term.
    pub async fn begin(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone()).increment(0);
        self.queues = crate::queue::ids(conn, self.router.rpcs().map(|(rpc, _)| rpc)).await?;
        Ok(())
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    pub fn copies(&self, name: &str) -> usize {
        self.router.subscribers(name).len()
    }

    /// One delivery for each subscriber of these events.
    pub fn route<'a>(&self, events: impl IntoIterator<Item = &'a Envelope<'a>>) -> Deliveries {
        let mut deliveries = Deliveries::default();
        let mut routes: HashMap<&str, (i32, i32)> = HashMap::new();
        for event in events {
            let rpcs = self.router.subscribers(&event.name);
            if rpcs.is_empty() {
                metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone())
                    .increment(1);
                tracing::debug!(event_id = %event.id, event = %event.name, "no subscriber: kept in the history only");
                continue;
            }
            let (first, last) = *routes.entry(&event.name).or_insert_with(|| {
                let first = deliveries.queues.len() + 1;
                deliveries.queues.extend(rpcs.iter().map(|rpc| self.queues[rpc]));
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
