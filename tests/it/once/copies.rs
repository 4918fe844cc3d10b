//! Copies of one message.

use std::time::Duration;

use outbox::Entry;

use crate::world::{One, ROUTER, World};

/// Guards promise 3: copies of one message, at the same time and at two workers, are one call.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_message_are_one_call() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        })
    });
    world.relay();
    let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 20 from outbox.delivery").await;
    world
        .execute(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select nextval('outbox.delivery_seq'), queue, event_id, body, now(), 0, now(), '', ''
             from outbox.delivery, generate_series(1, 3)",
        )
        .await;
    world.worker();
    world.worker();
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    for id in ids {
        assert_eq!(world.rpcs.calls_of(id).len(), 1);
    }
    world.finish().await;
}
