use outbox_event_router::Router;

use crate::world::{One, World};

const BEFORE: &str = "event:\n  - name: event_one\n    subscriber:\n      - id: Test/One\n";
const AFTER: &str =
    "event:\n  - name: event_one\n    subscriber:\n      - id: Other/One\n        queue: Test/One\n";

/// Guards promise 3: an RPC that moved to another package keeps its queue and its record under `queue`. What waited is called at
/// the new place, and what was done is not called again.
#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_that_moved_keeps_its_queue_and_its_record() {
    let mut world = World::new(BEFORE).await;
    let relay = world.relay();
    let worker = world.worker();
    let done = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[done]).await;
    world.until("select count(*) = 1 from outbox.done").await;
    worker.cancel();
    world.until("select not exists (select from outbox.process where program = 'worker')").await;
    let waits = world.publish(One { n: 2 }).await;
    world.until("select count(*) = 2 from outbox.delivery").await;
    world.stop_relay(&relay).await;

    world.router = Router::parse("test.yaml", AFTER).unwrap();
    world.relay();
    world.worker();
    world.rpcs.until_done("Other/One", &[waits]).await;
    let next = world.publish(One { n: 3 }).await;
    world.rpcs.until_done("Other/One", &[next]).await;
    assert_eq!(world.rpcs.calls_of(done).len(), 1, "it was done before the RPC moved");
    let queues: Vec<String> =
        sqlx::query_scalar("select rpc from outbox.queue").fetch_all(&world.pool).await.unwrap();
    assert_eq!(queues, ["Test/One"]);
}
