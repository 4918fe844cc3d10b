//! Statements that meet at the same records.

use outbox_transport::{Dedup, Lease, LeaseAnswer};
use sqlx::Connection;

use super::receipts::{Log, events};
use crate::contracts::{failed, release};
use crate::world::{PATIENCE, until};

impl Log {
    /// Until a session waits for a lock.
    async fn until_one_waits(&self) {
        until("it waits", async || {
            self.world.scalar::<bool>("select exists (select from pg_locks where not granted)").await
        })
        .await;
    }
}

/// Guards promise 3: `outbox.forget` waits while the id's receipt is folded, and then removes the id from the new receipt.
#[tokio::test(flavor = "multi_thread")]
async fn forgetting_follows_a_fold() {
    let log = Log::new().await;
    let events = events(2);
    for event in &events {
        log.done(&[*event]).await;
    }
    let mut folder = sqlx::PgConnection::connect(&log.world.url).await.unwrap();
    let mut tx = folder.begin().await.unwrap();
    let folded: i64 = sqlx::query_scalar(
        "select sum(f.folded)::bigint from generate_series(0, 4) as s,
             lateral outbox.fold_receipts(s::smallint, '-infinity', 'infinity', 100) as f",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(folded, 2);
    let (pool, event) = (log.world.pool.clone(), events[0].as_uuid());
    let forgetting = tokio::spawn(async move {
        let forget = "select outbox.forget($1, 'Test/One')";
        sqlx::query_scalar::<_, bool>(forget).bind(event).fetch_one(&pool).await.unwrap()
    });
    log.until_one_waits().await;
    tx.commit().await.unwrap();
    assert!(forgetting.await.unwrap());
    assert_eq!(log.ask(&events).await, "wd");
    assert_eq!(log.world.scalar::<i64>("select count(*) from outbox.receipt").await, 1);
    log.world.finish().await;
}

/// Guards promise 3: a success that is recorded while `outbox.forget` waits is kept. Then nothing at all is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn forgetting_ends_beside_a_new_record() {
    let log = Log::new().await;
    let events = events(2);
    log.done(&events).await;
    let mut other = sqlx::PgConnection::connect(&log.world.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    sqlx::query("select from outbox.receipt for update").execute(&mut *tx).await.unwrap();
    let (pool, event) = (log.world.pool.clone(), events[0].as_uuid());
    let forgetting = tokio::spawn(async move {
        let forget = "select outbox.forget($1, 'Test/One')";
        sqlx::query_scalar::<_, bool>(forget).bind(event).fetch_one(&pool).await.unwrap()
    });
    log.until_one_waits().await;
    let record = "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
                  values (outbox.dedup_slot($1), $1, 'Test/One', 1, now(), now())";
    sqlx::query(record).bind(event).execute(&log.world.pool).await.unwrap();
    tx.commit().await.unwrap();
    let forgotten = tokio::time::timeout(PATIENCE, forgetting).await.expect("it ends").unwrap();
    assert!(!forgotten);
    assert_eq!(log.world.scalar::<i64>("select count(*) from outbox.done").await, 3);
    log.world.finish().await;
}

/// Guards promise 6: the statements that lease and record take their locks in the same order, so none waits in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn leasing_and_recording_lock_in_one_order() {
    let log = Log::new().await;
    let old = uuid::Uuid::from_u128(7);
    let mut other = sqlx::PgConnection::connect(&log.world.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    // The first lock of `outbox.lease`.
    sqlx::query("select from outbox.queue where rpc = 'Test/One' for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    let pool = log.world.pool.clone();
    let recording = tokio::spawn(async move {
        let record = "select outbox.record_rows('Test/One', array[$1], array[1], 0)";
        sqlx::query_scalar::<_, i64>(record).bind(old).fetch_all(&pool).await
    });
    log.until_one_waits().await;
    sqlx::query("select outbox.note_late(array[$1])").bind(old).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(recording.await.unwrap().unwrap(), [1]);
    log.world.finish().await;
}

/// Guards promise 3: a token gives back the lease of its own event, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_releases_its_own_lease() {
    let log = Log::new().await;
    let events = events(2);
    let dedup = log.queue().dedup();
    let won = dedup.lease(&events).await.unwrap();
    let [LeaseAnswer::Won(one), LeaseAnswer::Won(two)] = won[..] else { panic!("{won:?}") };
    let crosswise = [Lease { token: two.token, ..one }, Lease { token: one.token, ..two }];
    release(&dedup, &crosswise.map(failed)).await;
    assert_eq!(log.ask(&events).await, "hh");
    release(&dedup, &[failed(one)]).await;
    assert_eq!(log.ask(&events).await, "wh");
    log.world.finish().await;
}

/// Guards promise 7: a receipt of a clock that was ahead does not keep later receipts from being folded.
#[tokio::test(flavor = "multi_thread")]
async fn folding_does_not_follow_a_clock_that_was_ahead() {
    let log = Log::new().await;
    log.done(&events(1)).await;
    log.world.execute("update outbox.receipt set done_at = now() + interval '1 day'").await;
    let bounded = "select newest <= clock_timestamp() from generate_series(0, 4) as s,
                       lateral outbox.fold_receipts(s::smallint, '-infinity', 'infinity', 100) where folded = 1";
    assert!(log.world.scalar::<bool>(bounded).await);
    log.world.finish().await;
}
