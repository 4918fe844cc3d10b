//! A relay and a worker on AWS, with an RPC that refuses some events.

use connectrpc::ConnectError;
use outbox_event::EventId;
use testkit::process::Process;

use super::desk::Desk;
use crate::cloud::Cloud;
use crate::world::{World, until};

/// One RPC with an event and a queue that no other test uses.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) event: &'static str,
    pub(super) rpc: &'static str,
}

impl Route {
    pub(super) fn yaml(self) -> String {
        format!("event:\n  - name: {}\n    subscriber: [{{ id: {} }}]\n", self.event, self.rpc)
    }
}

/// A relay and a worker of one RPC. It refuses events with 13 in their payload until `mend`.
pub(super) struct Case<'a> {
    pub(super) world: &'a World,
    pub(super) desk: Desk<'a>,
    pub(super) route: Route,
    pub(super) processes: [Process; 2],
}

impl<'a> Case<'a> {
    pub(super) fn start(world: &'a World, cloud: &'a Cloud, route: Route) -> Self {
        world.rpcs.on(route.rpc, |called| {
            let n = crate::operator::n(called);
            Box::pin(async move {
                if n == 13 { Err(ConnectError::invalid_argument("no such card")) } else { Ok(()) }
            })
        });
        let relay = world.relay_process_in(&cloud.environment());
        let worker = world.worker_process_without_database(&cloud.environment(), &[]);
        Self { world, desk: Desk::new(world, cloud), route, processes: [relay, worker] }
    }

    pub(super) async fn publish(&self, n: i64) -> EventId {
        let id: uuid::Uuid = sqlx::query_scalar("select outbox.enqueue($1, $2, 'key-1')")
            .bind(self.route.event)
            .bind(format!("{{\"n\":{n}}}"))
            .fetch_one(&self.world.pool)
            .await
            .unwrap();
        id.into()
    }

    /// Publishes an event that is done, and waits for its record.
    pub(super) async fn done(&self) -> EventId {
        let done = self.publish(1).await;
        self.until_recorded(done).await;
        done
    }

    /// Publishes three events that are dead-lettered.
    pub(super) async fn dead(&self) -> [EventId; 3] {
        let dead = [self.publish(13).await, self.publish(13).await, self.publish(13).await];
        until("they are dead", async || self.desk.letters("").await.len() == 3).await;
        dead
    }

    pub(super) fn mend(&self) {
        self.world.rpcs.on(self.route.rpc, |_| Box::pin(async { Ok(()) }));
    }

    pub(super) async fn until_recorded(&self, event: EventId) {
        self.world.rpcs.until_done(self.route.rpc, &[event]).await;
        let why = format!("why {event} --format json");
        until("it is recorded", async || {
            self.desk.outbox(&why).await.json()["deliveries"][0]["state"] == "done"
        })
        .await;
    }

    pub(super) async fn stop(self) {
        for process in self.processes {
            process.stop().await.unwrap();
        }
    }
}
