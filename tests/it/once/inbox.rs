//! The inbox: the effect and the note that it was done commit together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connectrpc::ConnectError;
use outbox::{EventId, inbox};
use outbox_schema::Migrated;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use testkit::process::Process;

use crate::role::address;
use crate::world::{One, ROUTER, World, cluster, new_database, until};

const RPC: &str = "Test/One";

/// A consumer's own database, with the inbox, without an outbox, and with a table for effects.
async fn consumer() -> PgPool {
    let pool = PgPoolOptions::new().connect(&new_database(cluster()).await).await.unwrap();
    outbox_schema::inbox::migrate(&mut pool.acquire().await.unwrap()).await.unwrap();
    sqlx::query("create table effect (event_id uuid)").execute(&pool).await.unwrap();
    pool
}

/// One call: notes the event, and has the effect if it is the first time. The caller commits.
async fn call(tx: &mut sqlx::PgTransaction<'_>, event: EventId) -> Result<bool, inbox::InboxError> {
    let first = inbox::first_time(tx, event, RPC).await?;
    if first {
        let effect = sqlx::query("insert into effect values ($1)").bind(event.as_uuid());
        effect.execute(&mut **tx).await.unwrap();
    }
    Ok(first)
}

async fn effects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from effect").fetch_one(pool).await.unwrap()
}

async fn notes(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from outbox.inbox").fetch_one(pool).await.unwrap()
}

/// Removes at a time that is so many hours from now. Returns whether there was anything to remove.
async fn expire_in(pool: &PgPool, hours: i32) -> bool {
    sqlx::query_scalar(
        "select outbox.inbox_expire_after('35 days', '77 days', clock_timestamp() + make_interval(hours => $1))",
    )
    .bind(hours)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Guards promise 3 with the inbox: a worker is killed after the RPC has committed and before it is recorded. The RPC is called
/// again, and its effect happened once.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_happens_once_although_the_worker_is_killed_before_its_record() {
    let mut world = World::new(ROUTER).await;
    let pool = consumer().await;
    let (answers, own) = (Arc::new(AtomicBool::new(false)), pool.clone());
    let answering = Arc::clone(&answers);
    world.rpcs.on(RPC, move |called| {
        let (own, event, answering) = (own.clone(), called.event, Arc::clone(&answering));
        Box::pin(async move {
            let mut tx = own.begin().await.map_err(|_| ConnectError::unavailable("no database"))?;
            call(&mut tx, event).await.map_err(|_| ConnectError::unavailable("no inbox"))?;
            tx.commit().await.map_err(|_| ConnectError::unavailable("no commit"))?;
            // It has committed, and the worker does not get to know.
            if answering.load(Ordering::SeqCst) { Ok(()) } else { std::future::pending().await }
        })
    });
    world.relay();
    let worker = world.worker_process();
    let id = world.publish(One { n: 1 }).await;
    until("the effect has committed", async || effects(&pool).await == 1).await;
    worker.kill().await.unwrap();
    answers.store(true, Ordering::SeqCst);
    let second = world.worker_process();
    world.rpcs.until_done(RPC, &[id]).await;
    world.until_settled().await;
    let calls = world.rpcs.calls_of(id);
    assert!(calls.len() >= 2, "it was called again");
    for name in ["outbox-event-id", "outbox-source", "outbox-sequence"] {
        let values: Vec<&str> = calls.iter().map(|call| call.incoming.header(name)).collect();
        assert!(values.iter().all(|value| *value == values[0] && !value.is_empty()), "{name}: {values:?}");
    }
    assert_eq!((effects(&pool).await, notes(&pool).await), (1, 1));
    second.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 3 with the inbox: of two transactions at the same time the second waits, and has the effect if and only if the
/// first one rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_transaction_waits_for_the_first() {
    let pool = consumer().await;
    for (commits, expected) in [(true, false), (false, true)] {
        let event = EventId::new();
        let mut first = pool.begin().await.unwrap();
        assert!(call(&mut first, event).await.unwrap());
        assert!(!call(&mut first, event).await.unwrap(), "the same transaction asks again");
        let theirs = pool.clone();
        let second = tokio::spawn(async move {
            let mut tx = theirs.begin().await.unwrap();
            let said = call(&mut tx, event).await.unwrap();
            tx.commit().await.unwrap();
            said
        });
        let waits = "select exists (select from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
                         where not l.granted and a.datname = current_database())";
        until("the second one waits", async || sqlx::query_scalar(waits).fetch_one(&pool).await.unwrap())
            .await;
        if commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), expected, "the first one commits: {commits}");
        let of_event = sqlx::query_scalar("select count(*) from effect where event_id = $1");
        let happened: i64 = of_event.bind(event.as_uuid()).fetch_one(&pool).await.unwrap();
        assert_eq!(happened, 1);
        // Another RPC has effects of its own.
        let mut other = pool.begin().await.unwrap();
        assert!(inbox::first_time(&mut other, event, "Test/Other").await.unwrap());
    }
}

/// Guards promise 3 with the inbox: a repeatable read can't see the note that another transaction commits. It fails as a whole,
/// and its next attempt has no effect.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_fails_instead_of_repeating() {
    let (pool, event) = (consumer().await, EventId::new());
    let mut older = pool.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *older).await.unwrap();
    sqlx::query("select count(*) from effect").execute(&mut *older).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    assert!(call(&mut other, event).await.unwrap());
    other.commit().await.unwrap();
    let inbox::InboxError(failed) = call(&mut older, event).await.unwrap_err();
    assert_eq!(failed.as_database_error().unwrap().code().unwrap(), "40001");
    older.rollback().await.unwrap();
    let mut again = pool.begin().await.unwrap();
    assert!(!call(&mut again, event).await.unwrap());
    assert_eq!(effects(&pool).await, 1);
}

/// Guards promises 3 and 7: a note stays for 35 days after it was written, and then leaves with its slot. A newer note keeps the
/// slot. Then notes that are older than the ring's turn leave alone.
#[tokio::test(flavor = "multi_thread")]
async fn notes_leave_after_35_days() {
    let (pool, event) = (consumer().await, EventId::new());
    let mut tx = pool.begin().await.unwrap();
    assert!(call(&mut tx, event).await.unwrap());
    tx.commit().await.unwrap();
    inbox::expire(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert!(!expire_in(&pool, 35 * 24 - 1).await);
    assert_eq!(notes(&pool).await, 1);

    // A call that comes late for an event of the same week.
    let late = "insert into outbox.inbox (slot, event_id, rpc, noted_at)
                values (outbox.inbox_slot($1), $1, 'Test/Late', clock_timestamp() + interval '20 days')";
    sqlx::query(late).bind(event.as_uuid()).execute(&pool).await.unwrap();
    assert!(!expire_in(&pool, 36 * 24).await);
    assert_eq!(notes(&pool).await, 2);

    // All are older than 35 days: the slots are truncated.
    let file = "select sum(pg_relation_size(inhrelid))::bigint from pg_inherits where inhparent = 'outbox.inbox'::regclass";
    sqlx::query(late).bind(EventId::new().as_uuid()).execute(&pool).await.unwrap();
    while expire_in(&pool, 56 * 24).await {}
    assert_eq!(sqlx::query_scalar::<_, i64>(file).fetch_one(&pool).await.unwrap(), 0);
    let mut tx = pool.begin().await.unwrap();
    assert!(call(&mut tx, event).await.unwrap(), "the note is gone");
}

/// Guards promise 7: in a slot that newer notes keep, what is older than the ring's turn is deleted. So ids without a time, and
/// late calls, let nothing grow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_never_old_is_cleaned_too() {
    let pool = consumer().await;
    sqlx::query(
        "insert into outbox.inbox (slot, event_id, rpc, noted_at)
         select outbox.inbox_slot(e.id), e.id, 'Test/One', clock_timestamp() - make_interval(days => n % 2 * 78)
         from (select gen_random_uuid() as id, n from generate_series(1, 400) as n) as e",
    )
    .execute(&pool)
    .await
    .unwrap();
    inbox::expire(&mut pool.acquire().await.unwrap()).await.unwrap();
    let old = "select count(*) from outbox.inbox where noted_at < clock_timestamp() - interval '1 day'";
    assert_eq!(sqlx::query_scalar::<_, i64>(old).fetch_one(&pool).await.unwrap(), 0);
    assert_eq!(notes(&pool).await, 200);
}

/// Guards promises 3 and 6: an open transaction that wrote to a slot keeps it, and removal waits for none. In repeatable read,
/// which would not see new notes, nothing is removed.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_keeps_its_slot() {
    let (pool, event) = (consumer().await, EventId::new());
    let old = "insert into outbox.inbox (slot, event_id, rpc, noted_at)
               values (outbox.inbox_slot($1), $1, 'Test/Old', clock_timestamp() - interval '36 days')";
    sqlx::query(old).bind(event.as_uuid()).execute(&pool).await.unwrap();
    let mut open = pool.begin().await.unwrap();
    assert!(call(&mut open, event).await.unwrap());
    inbox::expire(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(notes(&pool).await, 1);
    open.commit().await.unwrap();
    inbox::expire(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(notes(&pool).await, 2, "the new note keeps the slot");
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await.unwrap();
    let refused = inbox::expire(&mut tx).await.unwrap_err();
    assert!(refused.0.to_string().contains("needs read committed"), "{refused:?}");
}

/// Guards SECURITY.md: a role of the inbox can note events and remove old notes, and nothing else. The parts of the outbox get no
/// right to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_inbox_can_do_nothing_else() {
    let world = World::new(ROUTER).await;
    outbox_schema::inbox::migrate(&mut world.pool.acquire().await.unwrap()).await.unwrap();
    let name = format!("consumer_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {name} login")).await;
    world.execute(&format!("select outbox.inbox_grant_to('{name}')")).await;
    let own = PgPoolOptions::new().connect(&address(&world, &name)).await.unwrap();
    let event = EventId::new();
    for expected in [true, false] {
        let mut tx = own.begin().await.unwrap();
        assert_eq!(inbox::first_time(&mut tx, event, RPC).await.unwrap(), expected);
        tx.commit().await.unwrap();
    }
    inbox::expire(&mut own.acquire().await.unwrap()).await.unwrap();
    for statement in [
        "select * from outbox.inbox",
        "delete from outbox.inbox",
        "truncate outbox.inbox_0",
        "insert into outbox.inbox_0 values (0, gen_random_uuid(), 'Test/One')",
        "select outbox.inbox_expire_after('0', '0', clock_timestamp())",
        "select outbox.inbox_grant_to(current_user::text)",
        "select * from outbox.event",
        "select outbox.enqueue('event_one', '{}')",
    ] {
        let refused = sqlx::query(statement).execute(&own).await.expect_err(statement);
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{statement}: {refused}");
    }
    for part in ["publisher", "relay", "worker"] {
        let mut conn = PgConnection::connect(&crate::role::role(&world, part).await).await.unwrap();
        for statement in [
            "select outbox.inbox_first_time(gen_random_uuid(), 'Test/One')",
            "select outbox.inbox_expire()",
            "truncate outbox.inbox_0",
        ] {
            assert!(sqlx::query(statement).execute(&mut conn).await.is_err(), "{part}: {statement}");
        }
    }
    own.close().await;
    world.finish().await;
}

/// Guards: outbox and inbox can be made in one database, in either order and by any of the ways. Each has its own version.
#[tokio::test(flavor = "multi_thread")]
async fn outbox_and_inbox_are_made_in_either_order() {
    for inbox_first in [true, false] {
        let mut conn = PgConnection::connect(&new_database(cluster()).await).await.unwrap();
        let (of_outbox, of_inbox) = (
            Migrated { from: 0, to: outbox_schema::VERSION },
            Migrated { from: 0, to: outbox_schema::inbox::VERSION },
        );
        if inbox_first {
            assert_eq!(outbox_schema::inbox::migrate(&mut conn).await.unwrap(), of_inbox);
            assert!(outbox_schema::check(&mut conn).await.is_err(), "the inbox is no outbox");
        }
        assert_eq!(outbox_schema::migrate(&mut conn).await.unwrap(), of_outbox);
        let from = if inbox_first { of_inbox.to } else { 0 };
        assert_eq!(outbox_schema::inbox::migrate(&mut conn).await.unwrap(), Migrated { from, ..of_inbox });
        outbox_schema::check(&mut conn).await.unwrap();
        for expected in [true, false] {
            let asked = "select outbox.inbox_first_time('0198c7e2-0000-7000-8000-000000000001', 'Test/One')";
            assert_eq!(sqlx::query_scalar::<_, bool>(asked).fetch_one(&mut conn).await.unwrap(), expected);
        }
        sqlx::query("update outbox.inbox_migration set version = 99").execute(&mut conn).await.unwrap();
        let newer = outbox_schema::inbox::migrate(&mut conn).await.unwrap_err().to_string();
        assert!(newer.contains("inbox is at version 99"), "{newer}");
        outbox_schema::check(&mut conn).await.unwrap();
    }
}

/// Guards: `relay migrate --inbox` makes the inbox, and what `--print` prints makes it, too. The command then takes it as it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_or_prints_the_inbox() {
    let relay = crate::world::programs().join("relay");
    let url = new_database(cluster()).await;
    let env = [("DATABASE_URL", url.as_str())];
    for expected in ["migrated the inbox from version 0 to 1", "inbox is at version 1: nothing to do"] {
        let mut made = Process::start(&relay, ["migrate", "--inbox"], &env).unwrap();
        made.wait_for(expected).await.unwrap();
        assert!(made.ended().await.unwrap().success());
    }
    // It needs no database.
    let printed = std::process::Command::new(&relay)
        .args(["migrate", "--inbox", "--print"])
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let url = new_database(cluster()).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let statements = String::from_utf8(printed.stdout).unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let event = EventId::new();
    assert!(inbox::first_time(&mut tx, event, RPC).await.unwrap());
    tx.commit().await.unwrap();
    for _ in 0..2 {
        let mut taken =
            Process::start(&relay, ["migrate", "--inbox"], &[("DATABASE_URL", url.as_str())]).unwrap();
        taken.wait_for("inbox is at version 1: nothing to do").await.unwrap();
        assert!(taken.ended().await.unwrap().success());
    }
    let mut tx = conn.begin().await.unwrap();
    assert!(!inbox::first_time(&mut tx, event, RPC).await.unwrap(), "its notes are kept");
    tx.commit().await.unwrap();
    // The schema has no table of the outbox's migrations, and is still not one of another product.
    assert_eq!(outbox_schema::migrate(&mut conn).await.unwrap().to, outbox_schema::VERSION);
}
