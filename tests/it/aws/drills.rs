//! Incidents on AWS, each named by `status`, explained by `why`, seen by an alert, and repaired by a command that was printed.

use std::io::Write;
use std::time::Instant;

use connectrpc::ConnectError;
use outbox_event::EventId;
use testkit::process::Process;
use testkit::scrape;

use super::desk::Desk;
use crate::cloud::{Cloud, cloud};
use crate::seen::drills::desk::{Named, fires};
use crate::world::{World, until};

/// A relay and a worker of one RPC, and an operator.
struct Drill<'a> {
    world: &'a World,
    desk: Desk<'a>,
    event: &'static str,
    processes: [Process; 2],
    /// Of the worker's metrics.
    addr: String,
}

impl<'a> Drill<'a> {
    async fn start(world: &'a World, cloud: &'a Cloud, event: &'static str) -> Self {
        let relay = world.relay_process_in(&cloud.environment());
        let mut worker = world.worker_process_without_database(&cloud.environment(), &[]);
        let addr = scrape::addr(&mut worker).await.unwrap();
        Self { world, desk: Desk::new(world, cloud), event, processes: [relay, worker], addr }
    }

    async fn publish(&self, n: i64) -> EventId {
        let id: uuid::Uuid = sqlx::query_scalar("select outbox.enqueue($1, $2)")
            .bind(self.event)
            .bind(format!("{{\"n\":{n}}}"))
            .fetch_one(&self.world.pool)
            .await
            .unwrap();
        id.into()
    }

    /// Waits until one problem of `status` has all these words.
    async fn named(&self, number: &str, words: &[&str]) -> Named {
        let (began, mut found) = (Instant::now(), None);
        until(&format!("status tells: {words:?}"), async || {
            found = self.problem(words).await;
            found.is_some()
        })
        .await;
        let (named, seconds) = (found.unwrap(), began.elapsed().as_secs_f64());
        // Past the capture of the test's output, so that every log has it.
        let _ =
            writeln!(std::io::stderr(), "drill {number} on aws named after {seconds:.1} s: {}", named.text);
        named
    }

    async fn problem(&self, words: &[&str]) -> Option<Named> {
        let status = self.desk.with_database("outbox status --format json").await.json();
        let mut all = status["problems"].as_array().unwrap().iter().map(Named::of);
        all.find(|named| words.iter().all(|word| named.text.contains(word)))
    }

    async fn stop(self) {
        for process in self.processes {
            process.stop().await.unwrap();
        }
    }
}

/// Guards promise 8, drill 1 on AWS: the server of an RPC is away. The worker is named with the error, and all that waited is
/// delivered once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn drill_1_a_server_is_away_on_aws() {
    const RPC: &str = "Test/DrillAway";
    let Some(cloud) = cloud() else { return };
    let world = World::new(
        "event:\n  - name: event_drill_away\n    subscriber: [{ id: Test/DrillAway, backoff: { min: 100ms, max: 2s } }]\n",
    )
    .await;
    world.rpcs.on(RPC, |_| Box::pin(async { Err(ConnectError::unavailable("down for the night")) }));
    let drill = Drill::start(&world, cloud, "event_drill_away").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(drill.publish(n).await);
    }
    let error = "after unavailable: down for the night";
    drill.named("1", &["the server of Test/DrillAway is away", "in 1 of 1 worker: ", error]).await;
    let labels = ["rpc=\"Test/DrillAway\""];
    let state = ("outbox_worker_breaker_state", labels.as_slice());
    fires("OutboxBreakerOpen", &drill.addr, state, |level| level == 1.0 || level == 2.0).await;
    let why = format!("outbox why {}", ids[9]);
    until("why has the cause", async || {
        let said = drill.desk.with_database(&why).await.out;
        said.contains("its breaker is open in 1 of 1 worker: ") && said.contains(error)
    })
    .await;

    world.rpcs.on(RPC, |_| Box::pin(async { Ok(()) }));
    world.rpcs.until_done(RPC, &ids).await;
    until("the problem is gone", async || drill.problem(&["the server of Test/DrillAway"]).await.is_none())
        .await;
    drill.stop().await;
    world.finish().await;
}

/// Guards promise 8, drill 3 on AWS: one event is refused. It is dead with the reason, and is delivered by the command that `why`
/// printed.
#[tokio::test(flavor = "multi_thread")]
async fn drill_3_an_event_is_refused_on_aws() {
    const RPC: &str = "Test/DrillPoison";
    let Some(cloud) = cloud() else { return };
    let world =
        World::new("event:\n  - name: event_drill_poison\n    subscriber: [{ id: Test/DrillPoison }]\n")
            .await;
    world.rpcs.on(RPC, |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let drill = Drill::start(&world, cloud, "event_drill_poison").await;
    let dead = drill.publish(13).await;
    let named = drill.named("3", &["1 dead letter of Test/DrillPoison"]).await;
    let listed = drill.desk.paste(&named.command).await;
    assert!(listed.out.contains("no such card") && listed.out.contains(&dead.to_string()), "{listed:?}");
    let labels = ["rpc=\"Test/DrillPoison\"", "outcome=\"dead\""];
    let ended = ("outbox_worker_deliveries_total", labels.as_slice());
    fires("OutboxDeadLetters", &drill.addr, ended, |many| many > 0.0).await;
    let why = drill.desk.with_database(&format!("outbox why {dead}")).await;
    assert!(why.code == 1 && why.out.contains("invalid_argument: no such card"), "{why:?}");

    world.rpcs.on(RPC, |_| Box::pin(async { Ok(()) }));
    let redriven = drill.desk.with_database(&why.command("outbox dlq redrive")).await;
    assert!(redriven.code == 0 && redriven.out.starts_with("redriven 1 dead letter"), "{redriven:?}");
    world.rpcs.until_done(RPC, &[dead]).await;
    until("the problem is gone", async || drill.problem(&["Test/DrillPoison"]).await.is_none()).await;
    drill.stop().await;
    world.finish().await;
}
