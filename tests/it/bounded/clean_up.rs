//! What the relay cleans up is cleaned, however much there is of one kind.

use crate::world::{ROUTER, World};

/// Single receipts of so many RPCs, done so many minutes ago, one RPC after the other.
async fn receipts(world: &World, rpcs: u32, each: u32, ago: u32) {
    world
        .execute(&format!(
            "do $$
             declare
                 minute constant timestamptz := date_trunc('minute', now()) - interval '{ago} minutes';
                 prefix constant text := lpad(to_hex(extract(epoch from minute)::bigint * 1000), 12, '0') || '70008000';
             begin
                 insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
                 select outbox.dedup_slot(made.id), true, minute + made.n * interval '1 millisecond', made.id, made.id,
                        'Test/R' || made.rpc, array[made.id]
                 from (select n, rpc, (prefix || lpad(to_hex(n * {rpcs} + rpc), 12, '0'))::uuid as id
                       from generate_series(1, {each}) as n, generate_series(1, {rpcs}) as rpc) as made
                 order by made.n, made.rpc;
             end $$"
        ))
        .await;
}

/// Guards promise 7: receipts that never end keep no other part of the clean-up from running.
#[tokio::test(flavor = "multi_thread")]
async fn endless_receipts_keep_nothing_else_from_leaving() {
    let mut world = World::new(ROUTER).await;
    // A folded receipt is to be folded again, so there is always more to do.
    world
        .execute(
            "create function outbox.test_small() returns trigger language plpgsql as $$
             begin
                 new.small := true;
                 return new;
             end $$",
        )
        .await;
    world
        .execute("create trigger test_small before insert on outbox.receipt for each row execute function outbox.test_small()")
        .await;
    receipts(&world, 21_000, 1, 10).await;
    for old in [
        "insert into outbox.audit (id, who, command, at) values (gen_random_uuid(), 'me@host', 'test', now() - interval '401 days')",
        "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at)
         values (1, 1, gen_random_uuid(), '{}', now(), 1, 'test', 'test', now() - interval '15 days')",
    ] {
        world.execute(old).await;
    }
    world.relay();
    world.until("select not exists (select from outbox.dead_letter)").await;
    world.until("select not exists (select from outbox.audit where command = 'test')").await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.receipt where small").await, 21_000);
    world.finish().await;
}

/// Guards promise 7: a delivery of many quiet RPCs takes at most 25 bytes, because a folded receipt has the ids of a minute.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_many_rpcs_are_folded_by_the_minute() {
    let mut world = World::new(ROUTER).await;
    let empty = bytes(&world).await;
    receipts(&world, 300, 60, 10).await;
    let relay = world.relay();
    world.until("select not exists (select from outbox.receipt where small)").await;
    world.stop_relay(&relay).await;
    let ids: i64 = world.scalar("select sum(cardinality(ids))::bigint from outbox.receipt").await;
    assert_eq!(ids, 300 * 60);
    let each: f64 = world.scalar("select avg(cardinality(ids))::float8 from outbox.receipt").await;
    assert!(each >= 50.0, "{each} ids in a receipt");
    for slot in 0..5 {
        world.execute(&format!("vacuum full outbox.receipt_{slot}")).await;
    }
    let taken = bytes(&world).await - empty;
    assert!(taken <= 25 * ids, "{} bytes for a delivery", taken as f64 / ids as f64);
    world.finish().await;
}

/// What the receipts take on disk, with their indexes.
async fn bytes(world: &World) -> i64 {
    world
        .scalar("select sum(pg_total_relation_size(('outbox.receipt_' || n)::regclass))::bigint from generate_series(0, 4) as n")
        .await
}

/// Guards promise 6: a lease of a retry reads the small receipts of its minute under the queue's lock. So those of a busy RPC are
/// folded before the minute is over. The others wait, so that they are folded once.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_a_busy_rpc_do_not_wait_for_the_minute() {
    let world = World::new(ROUTER).await;
    receipts(&world, 5, 200, 0).await;
    world.execute("update outbox.receipt set rpc = 'Test/R1' where rpc in ('Test/R4', 'Test/R5')").await;
    let fold = "select sum(f.folded)::bigint from (select min(done_at) as minute from outbox.receipt) as r,
                    generate_series(0, 4) as s, lateral outbox.fold_receipts(s::smallint, '-infinity', r.minute, 20000) as f";
    assert_eq!(world.scalar::<i64>(fold).await, 600);
    let left = "select string_agg(distinct rpc, ' ') || ' ' || count(*) from outbox.receipt where small";
    assert_eq!(world.scalar::<String>(left).await, "Test/R2 Test/R3 400");
    assert_eq!(world.scalar::<i64>(fold).await, 0);
    let once_over = "select sum(f.folded)::bigint from (select min(done_at) + interval '1 minute' as minute from outbox.receipt) as r,
                         generate_series(0, 4) as s, lateral outbox.fold_receipts(s::smallint, '-infinity', r.minute, 20000) as f";
    assert_eq!(world.scalar::<i64>(once_over).await, 400);
    let ids = "select string_agg(rpc || ' ' || cardinality(ids), ', ' order by rpc, cardinality(ids)) from outbox.receipt";
    let expected = "Test/R1 105, Test/R1 495, Test/R2 200, Test/R3 200";
    assert_eq!(world.scalar::<String>(ids).await, expected);
    world.finish().await;
}
