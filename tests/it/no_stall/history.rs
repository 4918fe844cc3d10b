//! What the history can't take, and what it must tell.

use std::sync::Arc;
use std::time::Duration;

use outbox::Entry;
use outbox_event_router::Rpc;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_postgres::{SESSION, Source};
use outbox_transport::{Again, Delivery, Outcome, Queue, Wanted};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::world::{One, ROUTER, World};

/// A queue with so many deliveries, and no relay or worker beside the test.
async fn filled(world: &mut World, source: &Source, many: i64) -> (PostgresQueue, Arc<Watched>) {
    let relay = world.relay();
    world.publish_all((0..many).map(|n| Entry::new(One { n }))).await;
    world.until(&format!("select count(*) = {many} from outbox.delivery")).await;
    world.stop_relay(&relay).await;
    let watched = Arc::new(Watched::new(&Rpc::new("Test/One").unwrap()));
    let (connections, visibility) = (source.connections("test", &SESSION, 1), Duration::from_secs(60));
    let queue = PostgresQueue::new(connections, Arc::clone(&watched), "test", visibility, visibility);
    (queue, watched)
}

async fn receive<Q: Queue>(queue: &Q, many: usize) -> Vec<Delivery<Q::Receipt>> {
    let received = queue.receive(Wanted::any(many), &CancellationToken::new()).await.unwrap();
    assert_eq!(received.len(), many);
    received
}

fn again(again: Again, code: &'static str) -> Outcome {
    Outcome::Retry { after: Duration::ZERO, again, code, error: "why".into() }
}

async fn told(world: &World) -> Vec<String> {
    sqlx::query_scalar("select what from outbox.history order by at").fetch_all(&world.pool).await.unwrap()
}

/// Guards promise 6: deliveries are settled while the history is locked, and while the worker may not write to it. Later
/// deliveries have their entries.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_history_refuses_is_settled() {
    let mut world = World::new(ROUTER).await;
    let role = format!("worker_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {role} login")).await;
    world.execute(&format!("select outbox.grant_to('{role}', 'worker')")).await;
    let source: Source = world.url.replace("outbox@", &format!("{role}@")).parse().unwrap();
    let (queue, _) = filled(&mut world, &source, 4).await;
    let mut receipts = receive(&queue, 4).await.into_iter().map(|delivery| delivery.receipt);
    let mut one = || [(receipts.next().unwrap(), again(Again::Failed, "internal"))];

    for privilege in ["insert on outbox.history", "execute on function outbox.keep_history"] {
        world.execute(&format!("revoke {privilege} from {role}")).await;
        assert_eq!(queue.settle(&one()).await, [Ok(())], "without {privilege}");
        world.execute(&format!("grant {privilege} to {role}")).await;
    }
    let mut other = PgConnection::connect(&world.url).await.unwrap();
    other.execute("begin; lock table outbox.history in access exclusive mode").await.unwrap();
    let rest = one();
    let dead = [(rest[0].0, Outcome::Dead { code: "internal", reason: "poison".into() })];
    assert_eq!(queue.settle(&dead).await, [Ok(())], "while it is locked");
    other.execute("rollback").await.unwrap();
    assert_eq!(told(&world).await, [] as [String; 0]);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 2);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 1);

    assert_eq!(queue.settle(&one()).await, [Ok(())]);
    assert_eq!(told(&world).await, ["failed"]);
    world.finish().await;
}

/// Guards promise 8: a settlement that is repeated counts its entries once against the limit of a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_settlement_has_its_entries() {
    let mut world = World::new(ROUTER).await;
    let source = world.source.clone();
    let (queue, _) = filled(&mut world, &source, 100).await;
    let received = receive(&queue, 100).await;
    let failed: Vec<_> =
        received.into_iter().map(|delivery| (delivery.receipt, again(Again::Failed, "internal"))).collect();
    world.execute("alter table outbox.retry add constraint refused check (last_code <> 'internal')").await;
    for _ in 0..2 {
        assert!(queue.settle(&failed).await.iter().all(Result::is_err));
    }
    world.execute("alter table outbox.retry drop constraint refused").await;
    assert!(queue.settle(&failed).await.iter().all(Result::is_ok));
    assert_eq!(told(&world).await, ["failed"; 100]);
    world.finish().await;
}

/// Guards promise 8: a success has an entry after a hold, a lost lease, and a replay. It has none after a delivery was only
/// postponed.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_an_entry_has_one() {
    let mut world = World::new(ROUTER).await;
    let source = world.source.clone();
    let (queue, watched) = filled(&mut world, &source, 1).await;
    let receipt = async || receive(&queue, 1).await.remove(0).receipt;
    let settle = async |outcome: Outcome| {
        assert_eq!(queue.settle(&[(receipt().await, outcome)]).await, [Ok(())]);
    };
    let id = "0198c7e2-0000-7000-8000-000000000001";
    world.execute(&format!("select outbox.repair_begin('{id}', 'me', 'it')")).await;
    let replay = async || {
        world
            .execute(&format!(
                "select outbox.replay('{id}', array['Test/One'], array_agg(e.id), array['{{}}']) from outbox.event as e"
            ))
            .await;
        watched.ring();
    };

    settle(again(Again::Held, "invalid_argument")).await;
    settle(again(Again::Postponed, "crowded")).await;
    settle(Outcome::Done).await;
    assert_eq!(told(&world).await, ["held", "done"]);

    replay().await;
    settle(again(Again::Postponed, "crowded")).await;
    settle(Outcome::Done).await;
    assert_eq!(told(&world).await, ["held", "done", "replayed", "done"]);

    world.execute("truncate outbox.history").await;
    replay().await;
    world.execute("update outbox.retry set noted = false").await; // as a delivery that came by the log
    settle(again(Again::Postponed, "crowded")).await;
    settle(Outcome::Done).await;
    assert_eq!(told(&world).await, ["replayed"]);

    replay().await;
    world.execute("update outbox.retry set noted = false").await;
    settle(again(Again::Postponed, outbox_transport::LOST_LEASE)).await;
    settle(Outcome::Done).await;
    assert_eq!(told(&world).await, ["replayed", "replayed", "lost", "done"]);
    world.finish().await;
}
