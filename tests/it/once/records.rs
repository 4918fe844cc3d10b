//! How long a record of a success is kept, and what its removal costs.

use std::sync::Arc;
use std::time::Duration;

use outbox::EventId;
use outbox_postgres::PostgresDedup;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_transport::{Dedup, Lease, LeaseAnswer, Queue, Recorded, Wanted};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::world::{One, ROUTER, World};

/// Guards promise 3's window: dedup records stay until their whole slot is older than the window, and leave before the slot
/// is used again. That reads no record.
#[tokio::test(flavor = "multi_thread")]
async fn dedup_records_leave_by_the_week() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until("select count(*) = 1 from outbox.done").await;
    let slot: i16 = world.scalar("select slot from outbox.done").await;
    // What would become of the record's slot at that time, in a transaction that is rolled back.
    let at = async |days: i32| -> String {
        let mut tx = world.pool.begin().await.unwrap();
        let truncate = "select outbox.truncate_dedup($1, '21 days', now() + make_interval(days => $2))";
        let became = sqlx::query_scalar(truncate).bind(slot).bind(days).fetch_one(&mut *tx).await.unwrap();
        tx.rollback().await.unwrap();
        became
    };
    let mut truncated = Vec::new();
    for days in 0..35 {
        if at(days).await == "truncated" {
            truncated.push(days);
        }
    }
    assert!(!truncated.is_empty() && truncated[0] > 21, "{truncated:?}");
    let next_use = 35
        - i32::try_from(world.scalar::<i64>("select extract(epoch from now())::bigint / 86400 % 7").await)
            .unwrap();
    assert!(truncated.iter().all(|&days| days <= next_use), "{truncated:?}");

    // An event of ten days ago is done today: its slot waits for that record, too.
    let late = truncated[0];
    world.execute("update outbox.dedup_late set newest = now() + interval '10 days'").await;
    assert_eq!(at(late).await, "late");
    world.finish().await;
}

/// Guards promise 3's window: a record that is written at any time for an event of the last 21 days, or of the day to come, is
/// there for 21 days. Times are tried over ten weeks.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_leaves_before_its_time() {
    let world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
             select n, false, now(), '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 'Test/One', '{}'
             from generate_series(0, 4) as n",
        )
        .await;
    // A note of a late record may be up to a day old. Then the next one is not noted.
    world
        .execute(
            "do $$
             declare
                 written timestamptz;
                 ahead   interval;
                 s       smallint;
                 gone_at timestamptz;
             begin
                 for written in select generate_series(timestamptz '2026-10-01 00:30+00', '2026-12-10', '11 hours') loop
                     foreach ahead in array array['-21 days', '-15 days', '-8 days', '-50 hours', '-47 hours', '-1 day', '0', '6 hours',
                                                  '12 hours', '24 hours']::interval[] loop
                         s := (extract(epoch from written + ahead)::bigint / 604800) % 5;
                         update outbox.dedup_late as l
                         set newest = case when ahead < '-2 days' then written - interval '1 day' else '-infinity' end where l.slot = s;
                         select at into gone_at
                         from (select generate_series(written, written + interval '20 days 23 hours', '13 hours') as at
                               union all select written + interval '21 days' - interval '1 second') as later
                         where outbox.truncate_dedup(s, '21 days', at) = 'truncated' limit 1;
                         if found then
                             raise exception 'the record of an event of % that was written at % is gone at %', written + ahead, written, gone_at;
                         end if;
                     end loop;
                 end loop;
             end $$",
        )
        .await;
    world.finish().await;
}

/// Guards promise 3's window and promise 6: whether a week's records may leave is known without reading one.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_read_to_clean_up() {
    let world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
             select outbox.dedup_slot(id), id, 'Test/One', 0, now(), now()
             from (select outbox.uuid_v7() as id from generate_series(1, 1000)) as done",
        )
        .await;
    world
        .execute(
            "insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
             select outbox.dedup_slot(id), true, now(), id, id, 'Test/One', array[id]
             from (select outbox.uuid_v7() as id from generate_series(1, 1000)) as done",
        )
        .await;
    let mut cleaner = sqlx::PgConnection::connect(&world.url).await.unwrap();
    let mut tx = cleaner.begin().await.unwrap();
    let became: String = sqlx::query_scalar(
        "select outbox.truncate_dedup(outbox.dedup_slot(outbox.uuid_v7()), '21 days',
             to_timestamp((extract(epoch from now())::bigint / 604800 + 1) * 604800) + interval '24 days 1 hour')",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(became, "truncated");
    // Of tables and indexes, as this transaction counts them.
    let read: i64 = sqlx::query_scalar(
        "select (sum(pg_stat_get_xact_tuples_returned(oid)) + sum(pg_stat_get_xact_tuples_fetched(oid)))::bigint
         from pg_class where relnamespace = 'outbox'::regnamespace and relname ~ '^(dedup|receipt)_[0-9]'",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(read, 0);
    tx.rollback().await.unwrap();
    world.finish().await;
}

/// Guards promise 3's window: each statement that writes a record of another week notes the time for that week's slot.
#[tokio::test(flavor = "multi_thread")]
async fn late_records_are_noted() {
    let mut world = World::new(ROUTER).await;
    let old: EventId = "0198c7e2-0000-7000-8000-000000000001".parse().unwrap(); // August 2025
    world.execute(&format!("select outbox.enqueue('event_one', '{{\"n\":1}}', null, null, '{old}')")).await;
    world.publish(One { n: 1 }).await;
    world.relay();
    world.until("select count(*) = 2 from outbox.delivery").await;
    let noted = async |by: &str| {
        let slots: Vec<i16> = sqlx::query_scalar(
            "select slot from outbox.dedup_late where newest > now() - interval '1 minute'",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let slot: i16 = sqlx::query_scalar("select outbox.dedup_slot($1)")
            .bind(old.as_uuid())
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(slots, [slot], "{by}: the old event's slot, and not that of today's");
        world.execute("update outbox.dedup_late set newest = '-infinity'").await;
    };
    let connections = world.source.connections("test", &outbox_postgres::SESSION, 1);
    let one = Arc::new(Watched::new(&outbox_event_router::Rpc::new("Test/One").unwrap()));
    let minute = Duration::from_secs(60);
    let queue = PostgresQueue::new(connections.clone(), one, "test", minute, minute);
    let received = queue.receive(Wanted::any(10), &CancellationToken::new()).await.unwrap();
    let leases: Vec<Lease> = received.iter().filter_map(|delivery| delivery.lease).map(|of| of.0).collect();
    assert_eq!(leases.len(), 2);
    assert!(queue.dedup().complete(&leases).await.iter().all(|one| *one == Ok(Recorded::Written)));
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.receipt").await, 2, "one for each week");
    noted("receipt").await;
    let rpc = outbox_event_router::Rpc::new("Test/TwoA").unwrap();
    let dedup = PostgresDedup::new(connections, &rpc, Duration::from_secs(60));
    let claims = dedup.lease(&[old, EventId::new()]).await.unwrap();
    noted("claim").await;
    let leases: Vec<Lease> = claims
        .into_iter()
        .map(|claim| match claim {
            LeaseAnswer::Won(lease) => lease,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(dedup.complete(&leases).await.iter().all(|one| *one == Ok(Recorded::Written)));
    noted("record").await;
    world.finish().await;
}
