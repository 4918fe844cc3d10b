use outbox::Entry;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::{One, ROUTER, World};

/// Guards promise 6 and SECURITY.md: a role that may only connect takes every advisory lock that this project ever used. The
/// relay still leads, queues are received from, and events arrive. The relay polls instead of sleeping.
#[tokio::test(flavor = "multi_thread")]
async fn advisory_locks_of_a_stranger_stop_nothing() {
    let mut world = World::new(ROUTER).await;
    let role = format!("stranger_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {role} login")).await;
    let url = world.url.replace("outbox@", &format!("{role}@"));
    for mode in ["pg_advisory_lock", "pg_advisory_lock_shared"] {
        let mut stranger = PgConnection::connect(&url).await.unwrap();
        for class in [1_869_968_994, 1_869_968_995] {
            let all = format!("select {mode}({class}, n) from generate_series(0, 30) as n");
            stranger.execute(AssertSqlSafe(all)).await.unwrap();
        }
        let (relay, worker) = (world.relay(), world.worker());
        let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
        let id = world.publish(One { n: 20 }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
        world.until_settled().await;
        relay.cancel();
        worker.cancel();
        world.until("select pid is null from outbox.leader").await;
        stranger.close().await.unwrap();
    }
    for statement in [
        "update outbox.leader set term = 9",
        "select from outbox.queue for update",
        "begin; lock table outbox.cursor",
    ] {
        let mut stranger = PgConnection::connect(&url).await.unwrap();
        let refused = stranger.execute(statement).await.expect_err(statement);
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{statement}");
    }
    world.finish().await;
}

/// Guards promise 6: a relay of another role can't end the session of a hanging leader, but takes the lead.
/// When the old leader continues, none of its writes takes effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_leader_of_another_role_is_replaced() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    let name = format!("other_relay_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {name} login")).await;
    world.execute(&format!("select outbox.grant_to('{name}', 'relay')")).await;
    let mut leader = world.relay_process();
    leader.wait_for("leading").await.unwrap();
    let url = world.url.replace("outbox@", &format!("{name}@"));
    let mut standby = world.relay_process_in(&[("DATABASE_URL", &url)]);
    standby.wait_for("standing by").await.unwrap();
    let first = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;

    leader.signal("STOP").unwrap();
    let stuck = world.publish(One { n: 2 }).await;
    standby.wait_for("leading").await.unwrap();
    world.rpcs.until_done("Test/One", &[stuck]).await;
    leader.signal("CONT").unwrap();
    leader.wait_for("stepped down").await.unwrap();
    let last = world.publish(One { n: 3 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.delivery").await, 3, "each was put once");
    drop((leader, standby));
    world.finish().await;
}

/// Guards promise 2: a leader that has read a window writes nothing of it once another relay has advanced the cursor. Here
/// another relay has put the same window meanwhile, and the old leader has not noticed.
#[tokio::test(flavor = "multi_thread")]
async fn an_advanced_cursor_fences_its_old_leader() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let before = world.publish(One { n: 0 }).await;
    let put = async |id: outbox::EventId| -> i64 {
        let put = sqlx::query_scalar("select count(*) from outbox.delivery where event_id = $1");
        put.bind(id.as_uuid()).fetch_one(&world.pool).await.unwrap()
    };
    crate::world::until("the relay leads", async || put(before).await == 1).await;
    // The leader can't write the window that it has read while this is open.
    let mut other = world.pool.begin().await.unwrap();
    other.execute("lock table outbox.delivery in share row exclusive mode").await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.until("select exists (select from pg_locks where not granted and relation = 'outbox.delivery'::regclass)").await;
    for statement in [
        "insert into outbox.delivery (queue, event_id, body, slot)
         select q.id, e.id, '{}', 0 from outbox.event as e, outbox.queue as q
         where q.rpc = 'Test/One' and e.seq = (select max(seq) from outbox.event)",
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select pg_current_snapshot()::text, (select max(seq) from outbox.event), floor_seq, system_identifier, 'another', slot
         from outbox.newest_cursor",
    ] {
        other.execute(statement).await.unwrap();
    }
    other.commit().await.unwrap();
    let later = world.publish(One { n: 2 }).await;
    crate::world::until("the later one is put", async || put(later).await == 1).await;
    assert_eq!(put(id).await, 1, "the old leader put it as well");
    world.finish().await;
}
