use sqlx::{Connection, Executor, PgConnection};
use testkit::cluster::Cluster;

use crate::world::{One, ROUTER, World};

/// Guards promises 1 and 2: `enqueue` works in a transaction that ends in PREPARE TRANSACTION, however it is spelled, with the
/// relay asleep, awake or absent. What is committed arrives, what is rolled back does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_publishes() {
    let own = Cluster::tuned(&[("max_prepared_transactions", "10")]).unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    let enqueue = "select outbox.enqueue('event_one', '{\"n\":7}')";
    // Nobody relays.
    conn.execute("begin").await.unwrap();
    conn.execute(enqueue).await.unwrap();
    conn.execute("prepare transaction 'absent'").await.unwrap();
    conn.execute("commit prepared 'absent'").await.unwrap();
    let relay = world.relay_with(relay::relay::Settings {
        fallback: std::time::Duration::from_secs(1),
        ..crate::world::relay_settings()
    });
    world.worker();
    for (at, prepare) in [
        "prepare transaction 'x'",
        "PREPARE  TRANSACTION 'x'",
        "/* of a client */ prepare transaction 'x'",
        "-- of a client\nPrepare\nTransaction 'x'",
        "prepare transaction E'x'",
    ]
    .into_iter()
    .enumerate()
    {
        world.until_relay_sleeps().await;
        // At once, as psql -c does, and one by one, as drivers do.
        if at % 2 == 0 {
            conn.execute(sqlx::AssertSqlSafe(format!("begin; {enqueue}; {prepare}"))).await.expect(prepare);
        } else {
            conn.execute("begin").await.unwrap();
            conn.execute(enqueue).await.unwrap();
            conn.execute(sqlx::AssertSqlSafe(prepare)).await.expect(prepare);
        }
        conn.execute("commit prepared 'x'").await.unwrap();
    }
    conn.execute("begin").await.unwrap();
    conn.execute(enqueue).await.unwrap();
    conn.execute("prepare transaction 'taken back'").await.unwrap();
    conn.execute("rollback prepared 'taken back'").await.unwrap();
    world.until("select count(*) = 6 from outbox.done").await;
    // A transaction that says the words and commits wakes the relay all the same.
    world.stop_relay(&relay).await;
    world.relay();
    let id = world.publish(One { n: 8 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert_eq!(world.rpcs.calls().len(), 7);
    // A prepared transaction can't ring: the fallback found these, as README says.
    world.finish_found_by_fallback().await;
}
