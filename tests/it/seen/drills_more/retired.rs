use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use outbox::{Entry, EventId};
use uuid::Uuid;

use super::line::Line;
use crate::world::One;

const ONE_AND_OLD: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One }, { id: Test/Old }]
";
const ONE: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One }]
";
const OLD: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/Old }]
";
const NEW: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/New }]
";

fn one(n: i64) -> Entry {
    Entry::new(One { n })
}

/// Guards promise 8, drill 12: a subscriber is removed while its queue has messages. They are named, listed and dropped. Then
/// `status` is well, and `why` names the drop.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_subscriber_leaves_no_messages_behind() {
    let line = Line::new(ONE_AND_OLD).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    let before = line.publish([one(0)]).await;
    line.world.rpcs.until_done("Test/Old", &before).await;
    line.world.until_settled().await;
    worker.stop().await;
    let ids = line.publish((1..=20).map(one)).await;
    line.world.until("select count(*) = 42 from outbox.delivery").await;
    relay.stop().await;

    let incident = Instant::now();
    line.route(ONE);
    let (relay, worker) = (line.relay().await, line.worker().await);
    let lost = "20 messages for Test/Old, which event_router.yaml does not have: no worker receives them";
    let status = line.named("12", incident, &[lost]).await;
    let why = line.outbox(&format!("why {}", ids[0])).await;
    assert!(why.code == 1 && why.out.contains("Test/Old\n  queued "), "{why:?}");
    assert!(why.out.contains("event_router.yaml here does not have this RPC"), "{why:?}");
    // The series of OutboxQueueUnserved.
    let labels = line.labels("Test/Old");
    for series in [
        format!("outbox_queue_messages{labels} 20"),
        format!("outbox_queue_workers{labels} 0"),
        format!("outbox_queue_oldest_seconds{labels}"),
        format!("outbox_relay_leader{{source=\"{}\"}} 1", line.world.source.name()),
    ] {
        relay.shows(&series).await;
    }
    for which in ["--rpc Test/Old", "--state nobody"] {
        let listed = line.outbox(&format!("queue list {which} --format json")).await.json();
        assert_eq!(listed.as_array().unwrap().len(), 20, "{which}: {listed}");
    }

    let drop = status.command("outbox queue drop");
    let asked = line.run(&drop).await;
    assert!(asked.code == 2 && asked.err.contains("20 messages (20 of event_one"), "{asked:?}");
    let dropped = line.run(&format!("{drop} --yes")).await;
    assert_eq!(
        (dropped.code, dropped.out.as_str()),
        (0, "dropped 20 messages, and removed the queue of Test/Old"),
        "{dropped:?}"
    );
    line.world.rpcs.until_done("Test/One", &ids).await;
    line.is_well().await;
    let why = line.outbox(&format!("why {}", ids[0])).await;
    assert!(why.out.contains("dropped by operator-a@"), "{why:?}");
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// Guards promises 2, 3 and 8, drill 13: an RPC is renamed while events are published. What its old queue has is named, and moved
/// with the printed command. Each event is called for once, under one of both names, also after a replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_rpc_loses_nothing_under_live_traffic() {
    let line = Line::new(OLD).await;
    let published = Mutex::new(Vec::new());
    let traffic = async {
        for n in 0.. {
            let ids = line.publish([one(n)]).await;
            published.lock().unwrap().extend(ids);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = rename(&line) => {}
        () = traffic => unreachable!("it has no end"),
    }
    let published = published.into_inner().unwrap();
    let (relay, worker) = (line.relay().await, line.worker().await);
    line.world
        .rpcs
        .until("all are done", |rpcs| {
            let done = rpcs.succeeded();
            published.iter().all(|id| done.iter().any(|(_, event)| event == id))
        })
        .await;
    line.world.until_settled().await;
    let mut times: HashMap<EventId, usize> = HashMap::new();
    for (_, event) in line.world.rpcs.succeeded() {
        *times.entry(event).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");

    // What was done under the old name is not called again under the new one.
    let first = published[0];
    assert_eq!(line.world.rpcs.calls_of(first)[0].rpc, "Test/Old");
    let sent = line.outbox(&format!("replay --event {first} --run")).await;
    assert!(sent.code == 0 && sent.out.contains("1 of them had been done before"), "{sent:?}");
    line.world.until_settled().await;
    assert_eq!(line.world.rpcs.calls_of(first).len(), 1);
    line.is_well().await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// All processes get the new name at once, and messages are left under the old one.
async fn rename(line: &Line) {
    const LEFT: &str = "select count(*) >= 20 from outbox.delivery as d where d.seq >
         (select h.seq from outbox.queue_head as h where h.queue = d.queue)";
    let (before, worker) = (line.relay().await, line.worker().await);
    line.world.rpcs.until("some are done", |rpcs| rpcs.succeeded().len() > 5).await;
    worker.stop().await;
    line.world.until(LEFT).await;
    let incident = Instant::now();
    line.route(NEW);
    let (relay, worker) = (line.relay().await, line.worker().await);
    before.stop().await;
    let status = line.named("13", incident, &["for Test/Old, which event_router.yaml does not have"]).await;
    let newest = "select d.event_id from outbox.delivery as d join outbox.queue as q on q.id = d.queue
                  where q.rpc = 'Test/Old' order by d.seq desc limit 1";
    let left: Uuid = line.world.scalar(newest).await;
    let why = line.outbox(&format!("why {left}")).await;
    assert!(why.code == 1 && why.out.contains("Test/Old\n  queued "), "{why:?}");
    relay.shows(&format!("outbox_queue_workers{} 0", line.labels("Test/Old"))).await;

    let command = "outbox queue move --from Test/Old --to SERVICE/METHOD";
    assert!(status.out.contains(command), "{status:?}");
    let moved = line.run(&format!("{} --yes", command.replace("SERVICE/METHOD", "Test/New"))).await;
    assert!(moved.code == 0 && moved.out.starts_with("moved "), "{moved:?}");
    line.world
        .rpcs
        .until("the moved one is done", |rpcs| {
            rpcs.succeeded().iter().any(|(rpc, event)| rpc == "Test/New" && event.as_uuid() == left)
        })
        .await;
    let drop = moved.command("outbox queue drop");
    let dropped = line.run(&format!("{drop} --yes")).await;
    assert!(dropped.code == 0 && dropped.out.starts_with("dropped 0 messages"), "{dropped:?}");
    worker.stop().await;
    relay.stop().await;
}
