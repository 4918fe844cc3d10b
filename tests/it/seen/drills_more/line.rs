//! A line as it is operated: a relay and workers with a role each, and an operator who reads and pastes.

use std::time::Instant;

use outbox::{Entry, EventId};
use sqlx::postgres::{PgPool, PgPoolOptions};
use testkit::process::Process;
use testkit::scrape;

use crate::operator::{Said, paste};
use crate::role::role;
use crate::world::{World, until};

pub(super) struct Line {
    pub(super) world: World,
    /// The addresses with which processes connect.
    pub(super) relay: String,
    pub(super) worker: String,
    operator: String,
    publisher: PgPool,
}

/// A relay or worker, and where its metrics are.
pub(super) struct Running {
    pub(super) process: Process,
    metrics: String,
}

impl Running {
    /// Waits until it has written that it runs.
    async fn of(mut process: Process, world: &World) -> Self {
        let metrics = scrape::addr(&mut process).await.unwrap();
        let row =
            format!("select exists (select from outbox.process where name like '%:{}:%')", process.pid());
        world.until(&row).await;
        Self { process, metrics }
    }

    pub(super) async fn metrics(&self) -> String {
        scrape::get(&self.metrics, "/metrics").await.map(|(_, body)| body).unwrap_or_default()
    }

    /// Waits until its metrics have this line, or a line of this series.
    pub(super) async fn shows(&self, line: &str) {
        let series = format!("{line} ");
        until(line, async || self.metrics().await.lines().any(|one| one == line || one.starts_with(&series)))
            .await;
    }

    pub(super) async fn stop(self) {
        self.process.stop().await.unwrap();
    }
}

impl Line {
    pub(super) async fn new(router: &str) -> Self {
        Self::of(World::new(router).await).await
    }

    /// With roles that have the rights of their part alone.
    pub(super) async fn of(world: World) -> Self {
        let publisher = role(&world, "publisher").await;
        Self {
            relay: role(&world, "relay").await,
            worker: role(&world, "worker").await,
            operator: role(&world, "operator").await,
            publisher: PgPoolOptions::new().max_connections(4).connect(&publisher).await.unwrap(),
            world,
        }
    }

    pub(super) async fn relay(&self) -> Running {
        let process = self.world.relay_process_in(&[("DATABASE_URL", &self.relay)]);
        Running::of(process, &self.world).await
    }

    pub(super) async fn worker(&self) -> Running {
        self.worker_in(&[]).await
    }

    /// With more environment variables.
    pub(super) async fn worker_in(&self, env: &[(&str, &str)]) -> Running {
        let env = [&[("DATABASE_URL", self.worker.as_str())], env].concat();
        Running::of(self.world.worker_process_in(&env, &[]), &self.world).await
    }

    /// Another event_router.yaml, for what is started from here on.
    pub(super) fn route(&self, yaml: &str) {
        std::fs::write(&self.world.router_file, yaml).unwrap();
    }

    pub(super) async fn publish(&self, events: impl IntoIterator<Item = Entry>) -> Vec<EventId> {
        let mut tx = self.publisher.begin().await.unwrap();
        let ids = outbox::enqueue_all(&mut tx, events).await.unwrap();
        tx.commit().await.unwrap();
        ids
    }

    /// A command as the operator pastes it.
    pub(super) async fn run(&self, command: &str) -> Said {
        self.run_in(&[], command).await
    }

    /// With more environment variables.
    pub(super) async fn run_in(&self, env: &[(&str, &str)], command: &str) -> Said {
        let router = self.router();
        paste(&[&self.env(&router)[..], env].concat(), command).await
    }

    pub(super) fn router(&self) -> String {
        self.world.router_file.display().to_string()
    }

    pub(super) fn env<'a>(&'a self, router: &'a str) -> [(&'a str, &'a str); 3] {
        [("DATABASE_URL", &self.operator), ("OUTBOX_ROUTER", router), ("USER", "operator-a")]
    }

    pub(super) async fn outbox(&self, args: &str) -> Said {
        self.run(&format!("outbox {args}")).await
    }

    /// Waits until `outbox status` has all of these words, and prints how long after the incident.
    pub(super) async fn named(&self, drill: &str, incident: Instant, words: &[&str]) -> Said {
        let mut said = None;
        until(&format!("status says: {words:?}"), async || {
            let status = self.outbox("status").await;
            let is_named = words.iter().all(|one| status.out.contains(one));
            said = Some(status);
            is_named
        })
        .await;
        named(drill, incident);
        said.unwrap()
    }

    /// Waits until `outbox status` has nothing to say.
    pub(super) async fn is_well(&self) {
        until("status is well", async || self.outbox("status").await.code == 0).await;
    }

    /// The labels of a metric of this RPC.
    pub(super) fn labels(&self, rpc: &str) -> String {
        format!("{{source=\"{}\",rpc=\"{rpc}\"}}", self.world.source.name())
    }
}

pub(super) fn named(drill: &str, incident: Instant) {
    println!("drill {drill} named after {:.1} s", incident.elapsed().as_secs_f64());
}
