use sqlx::{Connection, Executor, PgConnection};
use testkit::cluster::Cluster;

use crate::world::{One, ROUTER, World};

/// Guards promises 1 and 2: `enqueue` works in a transaction that ends in PREPARE TRANSACTION, in any spelling, with the
/// relay asleep, awake or absent. Committed events arrive, rolled-back ones do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_publishes() {
    let own = Cluster::tuned(&[("max_prepared_transactions", "10")]).unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    let enqueue = "select outbox.enqueue('event_one', '{\"n\":7}')";
    let row = ["gen_random_uuid()", "'event_one'", "null", "'{\"n\":7}'", "null"];
    let library =
        (1..=row.len()).fold(outbox::INSERT.to_owned(), |sql, n| sql.replace(&format!("${n}"), row[n - 1]));
    // No relay runs.
    conn.execute("begin").await.unwrap();
    conn.execute(enqueue).await.unwrap();
    conn.execute("prepare transaction 'absent'").await.unwrap();
    conn.execute("commit prepared 'absent'").await.unwrap();
    let relay = world.relay_with(outbox_relay::relay::Settings {
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
        // The doorbell of the function, and that of the library's statement.
        let enqueue = if at % 3 == 0 { enqueue.to_owned() } else { library.clone() };
        // Both at once, as psql -c does, and one by one, as drivers do.
        if at % 2 == 0 {
            conn.execute(sqlx::AssertSqlSafe(format!("begin; {enqueue}; {prepare}"))).await.expect(prepare);
        } else {
            conn.execute("begin").await.unwrap();
            conn.execute(sqlx::AssertSqlSafe(enqueue)).await.unwrap();
            conn.execute(sqlx::AssertSqlSafe(prepare)).await.expect(prepare);
        }
        conn.execute("commit prepared 'x'").await.unwrap();
    }
    conn.execute("begin").await.unwrap();
    conn.execute(enqueue).await.unwrap();
    conn.execute("prepare transaction 'taken back'").await.unwrap();
    conn.execute("rollback prepared 'taken back'").await.unwrap();
    world.until("select count(*) = 6 from outbox.done").await;
    // A transaction that contains the words and commits still wakes the relay.
    world.stop_relay(&relay).await;
    world.relay();
    let id = world.publish(One { n: 8 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert_eq!(world.rpcs.calls().len(), 7);
    // A prepared transaction can't notify: the fallback poll found these events, as the README says.
    world.finish_found_by_fallback().await;
}
