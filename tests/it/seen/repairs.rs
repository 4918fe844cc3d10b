//! What the role `operator` may change, and what the audit keeps of it.

use std::collections::BTreeSet;

use outbox::Entry;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::operator::{ROUTER, misbehave, paste};
use crate::role::{address, role};
use crate::world::{One, World};

/// One call of every function that changes something for an operator.
const REPAIRS: [(&str, &str); 19] = [
    (
        "redrive",
        "select outbox.redrive($R, array_agg(seq), array_agg(queue), array_agg(event_id), true) from outbox.dead_letter",
    ),
    (
        "drop_dead_letters",
        "select outbox.drop_dead_letters($R, array_agg(seq), array_agg(queue), array_agg(event_id)) from outbox.dead_letter",
    ),
    ("replay", "select outbox.replay($R, array['Test/New'], array[outbox.uuid_v7()], array['{}'], true)"),
    ("retry_parked", "select outbox.retry_parked($R, array_agg(seq), array_agg(id)) from outbox.parked"),
    ("drop_parked", "select outbox.drop_parked($R, array_agg(seq), array_agg(id)) from outbox.parked"),
    ("set_brake", "select outbox.set_brake($R, 'Test/One', 'limit', 2, null, '1 hour', 'slow')"),
    ("lift_brake", "select outbox.lift_brake($R, 'Test/Slow', 'pause')"),
    ("repair_end", "select outbox.repair_end($R, '{}')"),
    ("repair_progress", "select outbox.repair_progress($R, 1, 1, null, true)"),
    ("undo", "select outbox.undo($R, outbox.uuid_v7(), 10)"),
    ("take_log", "select outbox.take_log($R, 'Test/One', 9)"),
    ("retry_now", "select outbox.retry_now($R, 'Test/One', '{}', '{}')"),
    ("give_up", "select outbox.give_up($R, 'Test/One', '{}', '{}', 'ticket 17')"),
    ("move_waiting", "select outbox.move_waiting($R, 'Test/One', 'Test/Slow')"),
    ("move_dead", "select outbox.move_dead($R, 'Test/One', 'Test/Slow')"),
    (
        "carry_records",
        "select outbox.carry_records($R, 'Test/One', 'Test/Slow', s::smallint, null) from generate_series(0, 4) as s",
    ),
    ("drop_waiting", "select outbox.drop_waiting($R, 'Test/One')"),
    ("remove_queue", "select outbox.remove_queue($R, 'Test/Slow')"),
    // The test commits this one, and counts from nothing before it.
    ("poison", "select outbox.poison($R, 'Test/One', '1 hour')"),
];
/// These find nothing to change.
const IDLE: [&str; 7] =
    ["repair_end", "repair_progress", "undo", "take_log", "retry_now", "give_up", "move_waiting"];

/// A digest of everything that a repair could change.
const STATE: &str = "select md5(concat_ws(' ',
     (select string_agg(e::text, ' ' order by e.seq) from outbox.event as e),
     (select string_agg(r::text, ' ' order by r.seq) from outbox.retry as r),
     (select string_agg(l::text, ' ' order by l.seq) from outbox.dead_letter as l),
     (select string_agg(p::text, ' ' order by p.seq) from outbox.parked as p),
     (select string_agg(d::text, ' ' order by d.event_id, d.rpc) from outbox.dedup as d),
     (select string_agg(d::text, ' ' order by d.event_id, d.rpc) from outbox.done as d),
     (select string_agg(q::text, ' ' order by q.id) from outbox.queue as q),
     (select string_agg(b::text, ' ' order by b.rpc, b.kind) from outbox.brake as b),
     (select string_agg(a::text, ' ' order by a.id) from outbox.audit as a)))";

/// A dead letter, a parked event and a pause, without relay or worker.
async fn broken() -> World {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    let (relay, worker) = (world.relay(), world.worker());
    let ids = world.publish_all([Entry::new(One { n: 13 }), Entry::new(One { n: 1 })]).await;
    world.rpcs.until_done("Test/One", &ids[1..]).await;
    crate::operator::publish_malformed(&world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    worker.cancel();
    world.stop_relay(&relay).await;
    world
        .execute("insert into outbox.brake (rpc, kind, until, who, why) values ('Test/Slow', 'pause', now() + interval '1 hour', 'me', 'it')")
        .await;
    world.until("select not exists (select from pg_stat_activity where application_name ~ '^outbox' and datname = current_database())").await;
    world
}

async fn code(conn: &mut PgConnection, statement: &str) -> String {
    let failed = conn.execute(AssertSqlSafe(statement.to_owned())).await.expect_err(statement);
    let code = failed.as_database_error().and_then(|error| error.code());
    code.map(|code| code.into_owned()).unwrap_or_else(|| failed.to_string())
}

/// Guards SECURITY.md: an operator writes no table and moves no sequence, except through functions.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_writes_no_table() {
    let world = World::new(ROUTER).await;
    let url = role(&world, "operator").await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let written: Vec<String> = sqlx::query_scalar(
        "select c.relname || ' ' || privilege from pg_class as c
         cross join unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
         where c.relnamespace = 'outbox'::regnamespace and c.relkind in ('r', 'p', 'v')
           and (has_table_privilege(c.oid, privilege)
                or privilege in ('insert', 'update', 'references') and has_any_column_privilege(c.oid, privilege))
         union all
         select c.relname || ' ' || privilege from pg_class as c cross join unnest(array['usage', 'update']) as privilege
         where c.relnamespace = 'outbox'::regnamespace and c.relkind = 'S' and has_sequence_privilege(c.oid, privilege)
         order by 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(written, [] as [String; 0]);
    for statement in [
        "delete from outbox.dead_letter",
        "update outbox.audit set who = 'nobody'",
        "insert into outbox.audit (id, at, who, command) values (outbox.uuid_v7(), now(), 'me', 'nothing')",
        "delete from outbox.dedup",
        "delete from outbox.receipt",
        "update outbox.queue set poison_until = now()",
        "insert into outbox.brake (rpc, kind, until, who, why) values ('Test/One', 'pause', now(), 'me', 'it')",
        "select outbox.forget(outbox.uuid_v7(), 'Test/One')",
        "select outbox.repaired(outbox.uuid_v7(), 1)",
        "select outbox.enqueue('event_one', '{}')",
        "select outbox.grant_to(session_user::text, 'relay')",
    ] {
        assert_eq!(code(&mut conn, statement).await, "42501", "{statement}");
    }
    world.finish().await;
}

/// Guards SECURITY.md: functions with their owner's rights can be called by publishers or by operators alone.
#[tokio::test(flavor = "multi_thread")]
async fn functions_with_their_owners_rights_have_the_right_callers() {
    let world = World::new(ROUTER).await;
    let callable = "select distinct p.proname::text from pg_proc as p
                    where p.pronamespace = 'outbox'::regnamespace and p.prosecdef and has_function_privilege(p.oid, 'execute')";
    let repairs: BTreeSet<String> = REPAIRS
        .iter()
        .map(|(name, _)| *name)
        .chain(["repair_begin", "repair_start", "repair_stop", "repair_pace"])
        .map(str::to_owned)
        .collect();
    let publishing: BTreeSet<String> = ["wake"].map(str::to_owned).into();
    for (part, expected) in [
        ("publisher", publishing),
        ("relay", BTreeSet::new()),
        ("worker", BTreeSet::new()),
        ("operator", repairs),
    ] {
        let mut conn = PgConnection::connect(&role(&world, part).await).await.unwrap();
        let callable: Vec<String> = sqlx::query_scalar(callable).fetch_all(&mut conn).await.unwrap();
        assert_eq!(callable.into_iter().collect::<BTreeSet<_>>(), expected, "{part}");
    }
    // A role without a part can call none at all.
    let nobody = format!("nobody_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {nobody} login")).await;
    world.execute(&format!("grant usage on schema outbox to {nobody}")).await;
    let mut conn = PgConnection::connect(&address(&world, &nobody)).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "select p.proname::text from pg_proc as p
         where p.pronamespace = 'outbox'::regnamespace and has_function_privilege(p.oid, 'execute')",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(open, [] as [String; 0]);
    world.finish().await;
}

/// Guards SECURITY.md: a function changes something only within a repair that the same role has begun and not ended.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_a_repair() {
    let world = broken().await;
    let mut operator = PgConnection::connect(&role(&world, "operator").await).await.unwrap();
    let mut other = PgConnection::connect(&role(&world, "operator").await).await.unwrap();
    let [never, ended, others] = [1, 2, 3].map(|n| format!("0198c7e2-0000-7000-8000-00000000000{n}"));
    let begin = |id: &str| format!("select outbox.repair_begin('{id}', 'me@host', 'by hand')");
    operator.execute(AssertSqlSafe(begin(&ended))).await.unwrap();
    operator.execute(AssertSqlSafe(format!("select outbox.repair_end('{ended}', '{{}}')"))).await.unwrap();
    other.execute(AssertSqlSafe(begin(&others))).await.unwrap();
    for id in [&ended, &others] {
        assert_eq!(code(&mut operator, &begin(id)).await, "23505", "an id is used once");
    }

    let before: String = world.scalar(STATE).await;
    for (name, call) in REPAIRS {
        for id in [&never, &ended, &others] {
            let call = call.replace("$R", &format!("'{id}'"));
            assert_eq!(code(&mut operator, &call).await, "55000", "{name}");
        }
        assert_eq!(code(&mut operator, &call.replace("$R", "null")).await, "55000", "{name}");
        assert_eq!(world.scalar::<String>(STATE).await, before, "{name}");
    }

    let mine = "0198c7e2-0000-7000-8000-000000000004";
    operator.execute(AssertSqlSafe(begin(mine))).await.unwrap();
    let mut before: String = world.scalar(STATE).await;
    for (name, call) in REPAIRS {
        // What an earlier case removed is there for the next one.
        let mut tx = operator.begin().await.unwrap();
        tx.execute(AssertSqlSafe(call.replace("$R", &format!("'{mine}'")))).await.unwrap();
        let changed = "select changed from outbox.audit where id = '0198c7e2-0000-7000-8000-000000000004'";
        let changed: i64 = sqlx::query_scalar(changed).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(changed, i64::from(!IDLE.contains(&name)), "{name}");
        if name == "poison" {
            tx.commit().await.unwrap();
            let after: String = world.scalar(STATE).await;
            assert_ne!(after, before);
            before = after;
        } else {
            tx.rollback().await.unwrap();
        }
    }
    world.finish().await;
}

/// Guards SECURITY.md: the audit names the session's role, even after `set role`.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_the_sessions_role() {
    let world = World::new(ROUTER).await;
    let url = role(&world, "operator").await;
    let name = url.split(['/', '@']).nth(2).unwrap();
    for statement in [
        format!("create role {name}_shared"),
        format!("select outbox.grant_to('{name}_shared', 'operator')"),
        format!("grant {name}_shared to {name}"),
    ] {
        world.execute(&statement).await;
    }
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute(AssertSqlSafe(format!("set role {name}_shared"))).await.unwrap();
    conn.execute("select outbox.repair_begin(outbox.uuid_v7(), 'me@host', 'by hand')").await.unwrap();
    assert_eq!(world.scalar::<String>("select role from outbox.audit").await, name);
    world.finish().await;
}

/// Guards SECURITY.md: meaningless input is refused, with the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn meaningless_input_is_refused() {
    let world = World::new(ROUTER).await;
    let mut conn = PgConnection::connect(&role(&world, "operator").await).await.unwrap();
    let repair = "0198c7e2-0000-7000-8000-000000000001";
    conn.execute(AssertSqlSafe(format!("select outbox.repair_begin('{repair}', 'me@host', 'by hand')")))
        .await
        .unwrap();
    for (call, hint) in [
        ("select outbox.repair_begin(null, 'me', 'it')", "select outbox.repair_begin("),
        ("select outbox.repair_begin(outbox.uuid_v7(), '', 'it')", "select outbox.repair_begin("),
        ("select outbox.redrive($R, array[1], array[1, 2], '{}')", "one element of each"),
        ("select outbox.drop_dead_letters($R, null, null, null)", "one element of each"),
        ("select outbox.retry_parked($R, array[1], '{}')", "one element of each"),
        (
            "select outbox.replay($R, array['nonsense'], array[outbox.uuid_v7()], array['{}'])",
            "write Service/Method",
        ),
        ("select outbox.give_up($R, 'Test/One', array[1], '{}', '')", "one element of each"),
        ("select outbox.move_dead($R, 'Test/One', 'nonsense')", "write Service/Method"),
        ("select outbox.move_waiting($R, 'Test/One', 'Test/One')", "write Service/Method"),
        ("select outbox.repair_pace($R, 'me', 0, null, '30 s')", "a rate from 1 to 10000"),
        ("select outbox.repair_pace($R, 'me', 10001, null, '30 s')", "a rate from 1 to 10000"),
        ("select outbox.poison($R, 'Test/One', '31 days')", "from zero to 30 days"),
        ("select outbox.poison($R, 'Test/One', null)", "from zero to 30 days"),
        ("select outbox.set_brake($R, 'Test/One', 'pause', null, null, '3 days', 'it')", "2 days at most"),
        ("select outbox.set_brake($R, 'Test/One', 'pause', null, null, '0 s', 'it')", "2 days at most"),
        ("select outbox.set_brake($R, 'Test/One', 'pause', null, null, null, 'it')", "2 days at most"),
        ("select outbox.set_brake($R, 'Test/One', 'pause', null, null, '1 hour', '')", "and why"),
        ("select outbox.set_brake($R, 'Test/One', 'pause', 2, null, '1 hour', 'it')", "the kind limit alone"),
        (
            "select outbox.set_brake($R, 'Test/One', 'limit', null, null, '1 hour', 'it')",
            "the kind limit alone",
        ),
    ] {
        let call = call.replace("$R", &format!("'{repair}'"));
        let failed = conn.execute(AssertSqlSafe(call.clone())).await.expect_err(&call);
        let failed = failed.as_database_error().unwrap().downcast_ref::<sqlx::postgres::PgDatabaseError>();
        assert_eq!(failed.code(), "22023", "{call}: {failed}");
        assert!(failed.hint().is_some_and(|said| said.contains(hint)), "{call}: {failed:?}");
    }
    world.finish().await;
}

/// Guards promise 8: of a command that was killed half-way, the audit keeps the changes up to then.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_repair_is_kept_in_the_audit() {
    let world = broken().await;
    let url = role(&world, "operator").await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let repair = "'0198c7e2-0000-7000-8000-000000000001'";
    conn.execute(AssertSqlSafe(format!("select outbox.repair_begin({repair}, 'me@host', 'by hand')")))
        .await
        .unwrap();
    conn.execute(AssertSqlSafe(REPAIRS[0].1.replace("$R", repair))).await.unwrap();
    let said = paste(&[("DATABASE_URL", &url)], "outbox audit --format json").await.json();
    assert_eq!(
        (&said[0]["command"], &said[0]["result"]["changed"]),
        (&"by hand".into(), &1.into()),
        "{said}"
    );
    assert_eq!(said[0]["ended"], false, "{said}");
    let told = paste(&[("DATABASE_URL", &url)], "outbox audit").await.out;
    assert!(told.contains("not ended"), "{told}");
    world.finish().await;
}
