use std::collections::HashMap;

use event_router::{Router, Rpc};
use sqlx::PgConnection;

use super::{Bus, Deliveries, Limits, PutError, envelope};
use crate::outbox::Entry;

/// The bus without AWS: the routes of `event_router.yaml`, applied by the relay itself, into the queues of the
/// same database. Deliveries are written by the transaction that advances the cursor, so an event moves from the
/// outbox to its queues exactly once.
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
}

impl Bus for PostgresBus {
    fn limits(&self) -> Limits {
        Limits { entries_max: usize::MAX, bytes_max: usize::MAX, concurrency: 1, atomic: true }
    }

    async fn begin(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone()).increment(0);
        self.queues = outbox_schema::queues(conn, self.router.rpcs().map(|(rpc, _)| rpc)).await?;
        Ok(())
    }

    /// Nothing leaves the database here: this only refuses, as EventBridge would, what no worker could read.
    async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
        entries.iter().map(|entry| envelope(entry).map(|_| ())).collect()
    }

    fn copies(&self, name: &str) -> usize {
        self.router.subscribers(name).len()
    }

    fn deliveries(&self, acked: &[&Entry]) -> Deliveries {
        let mut deliveries = Deliveries::default();
        let mut routes: HashMap<&str, (i32, i32)> = HashMap::new();
        for entry in acked {
            let rpcs = self.router.subscribers(&entry.name);
            if rpcs.is_empty() {
                metrics::counter!("outbox_relay_unrouted_events_total", "source" => self.source.clone())
                    .increment(1);
                tracing::debug!(event_id = %entry.id, event = entry.name, "no subscriber: kept in the history only");
                continue;
            }
            let Ok(envelope) = envelope(entry) else { continue };
            let (first, last) = *routes.entry(&entry.name).or_insert_with(|| {
                let first = deliveries.queues.len() + 1;
                deliveries.queues.extend(rpcs.iter().map(|rpc| self.queues[rpc]));
                // An RPC's name has no character that JSON would escape.
                deliveries.rpcs.extend(rpcs.iter().map(ToString::to_string));
                let index = |at: usize| i32::try_from(at).expect("a router has few routes");
                (index(first), index(deliveries.queues.len()))
            });
            deliveries.first.push(first);
            deliveries.last.push(last);
            deliveries.events.push(entry.id.as_uuid());
            deliveries.envelopes.push(serde_json::to_string(&envelope).expect("an envelope serializes"));
        }
        deliveries
    }
}
