//! Delivery numbers that were drawn twice, because a sequence was set back while a relay led.

use connectrpc::ConnectError;
use outbox::EventId;

use crate::operator::{outbox, paste};
use crate::world::{One, ROUTER, Two, World};

/// Makes `Test/TwoA` answer with `two`. `Test/One` answers its first call with `one`.
fn answers(world: &World, two: fn() -> ConnectError, one: fn() -> ConnectError) {
    world.rpcs.on("Test/TwoA", move |_| Box::pin(async move { Err(two()) }));
    world.rpcs.on("Test/One", move |called| {
        let first = called.attempt == 1;
        Box::pin(async move { if first { Err(one()) } else { Ok(()) } })
    });
}

/// Publishes an event whose delivery to `Test/One` gets the number that this table has for `Test/TwoA`.
async fn publish_with_the_number_of(world: &World, table: &str) -> EventId {
    world.until(&format!("select count(*) = 1 from outbox.{table}")).await;
    world
        .execute(&format!("select setval('outbox.delivery_seq', (select seq from outbox.{table}), false)"))
        .await;
    world.publish(One { n: 1 }).await
}

/// Guards promise 2: a dead letter is kept, although another delivery's dead letter has the same number. Each of the two is
/// listed and redriven by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_with_the_number_of_another_is_kept() {
    let mut world = World::new(ROUTER).await;
    let refuses = || ConnectError::invalid_argument("no such card");
    answers(&world, refuses, refuses);
    world.relay();
    world.worker();
    let two = world.publish(Two { n: 1 }).await;
    let one = publish_with_the_number_of(&world, "dead_letter").await;
    world.until("select count(*) = 2 and count(distinct seq) = 1 from outbox.dead_letter").await;

    let listed = outbox(&world, "dlq list --format json").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let redriven = outbox(&world, &format!("dlq drop --yes --event {two}")).await;
    assert_eq!(redriven.out, "dropped 1 dead letter", "{redriven:?}");
    let why = outbox(&world, &format!("why {one}")).await;
    let env = [("DATABASE_URL", world.url.as_str())];
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    assert_eq!(paste(&env, &why.command("outbox dlq redrive")).await.out, "redriven 1 dead letter");
    world.rpcs.until_done("Test/One", &[one]).await;
    world.until_settled().await;
    world.finish().await;
}

/// Guards promise 2: the same for a delivery that needs another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_number_of_another_is_made() {
    let mut world = World::new(ROUTER).await;
    answers(&world, || ConnectError::unavailable("down"), || ConnectError::internal("not yet"));
    world.relay();
    world.worker();
    let two = world.publish(Two { n: 1 }).await;
    let one = publish_with_the_number_of(&world, "retry").await;
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Ok(()) }));
    world.rpcs.until_done("Test/TwoA", &[two]).await;
    world.until_settled().await;
    world.finish().await;
}
