use std::collections::BTreeSet;
use std::path::Path;

use outbox::Entry;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::process::{Process, root};

use crate::world::{One, ROUTER, World, cluster, new_database, programs};

/// Types of arguments in the project's SQL. A planted function or operator is a better match only for types without an exact
/// one in pg_catalog. So every pair of these types is planted.
const TYPES: &str = "array['int2', 'int4', 'int8', 'float8', 'numeric', 'text', 'varchar', 'name', '\"char\"', 'bool', 'uuid', 'oid', 'regclass',
    'xid', 'xid8', 'timestamptz', 'timestamp', 'date', 'interval', 'json', 'jsonb', 'pg_snapshot', 'text[]', 'int4[]', 'int8[]', 'uuid[]']";

/// Plants a function for every name that the project's SQL calls, and an operator for every symbol.
const PLANT: &str = r#"
do $$
declare
    types text[] := TYPES;
    names text[] := NAMES;
    f text; l text; r text; n integer := 0;
    body constant text := $body$
        declare
            context text;
        begin
            get diagnostics context = pg_context;
            insert into public.loot values (current_user, current_setting('application_name'), context);
            return null;
        end $body$;
begin
    foreach l in array types loop
        foreach r in array types loop
            n := n + 1;
            execute format('create function public.evil_%s(%s, %s) returns bool language plpgsql as %L', n, l, r, body);
            foreach f in array array['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '%', '||', '~', '!~', '~*', '!~*', '->', '->>', '#>>'] loop
                begin
                    execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.evil_%s)', f, l, r, n);
                exception when others then null;
                end;
            end loop;
        end loop;
    end loop;
    foreach f in array names loop
        execute format('create function public.%I() returns text language plpgsql as %L', f, body);
        foreach l in array types loop
            for n in 1..6 loop
                execute format('create function public.%I(%s) returns text language plpgsql as %L', f,
                    array_to_string(array_fill(l, array[n]), ', '), body);
            end loop;
        end loop;
        foreach l in array array['text', 'int4', 'int8', 'timestamptz', 'regclass', 'uuid', 'interval'] loop
            foreach r in array array['text', 'int4', 'int8', 'timestamptz', 'regclass', 'uuid', 'interval'] loop
                if l <> r then
                    execute format('create function public.%I(%s, %s) returns text language plpgsql as %L', f, l, r, body);
                    execute format('create function public.%I(%s, %s, bool) returns text language plpgsql as %L', f, l, r, body);
                end if;
            end loop;
        end loop;
    end loop;
end $$"#;

/// Every name in the project's SQL that looks like a call.
fn called() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in [
        "migrations",
        "crates/schema/src",
        "crates/relay/src",
        "crates/worker/src",
        "crates/cli/src",
        "crates/outbox/src",
    ] {
        for entry in walk(&root().join(folder)) {
            let text = std::fs::read_to_string(entry).unwrap();
            for (at, _) in text.match_indices('(') {
                let name: String = text[..at]
                    .chars()
                    .rev()
                    .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_')
                    .collect();
                names.insert(name.chars().rev().collect::<String>());
            }
        }
    }
    names
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Plants as a role that may publish, and may create in `public`, as every role may on PostgreSQL 14 and after upgrades from
/// it.
async fn plant(url: &str, role: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    for statement in [
        format!("do $$ begin create role {role} login; exception when duplicate_object then null; end $$"),
        format!("grant create on schema public to {role}"),
        "create table public.loot (who text, application text, context text)".to_owned(),
        "grant insert on public.loot to public".to_owned(),
    ] {
        admin.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let names: Vec<String> = sqlx::query_scalar(
        "select distinct proname::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname = any ($1)",
    )
    .bind(called().into_iter().collect::<Vec<_>>())
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(names.len() > 40, "{names:?}");
    let names = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let plant = PLANT.replace("TYPES", TYPES).replace("NAMES", &format!("array[{names}]"));
    let mut stranger = PgConnection::connect(&url.replace("outbox@", &format!("{role}@"))).await.unwrap();
    // The planted functions must not run in this session either.
    stranger.execute("set search_path = pg_catalog").await.unwrap();
    stranger.execute(AssertSqlSafe(plant)).await.unwrap();
}

/// What ran in a session or a function of the project.
async fn loot(url: &str) -> Vec<(String, String, String)> {
    sqlx::query_as("select * from public.loot where application operator(pg_catalog.~) '^outbox' or context operator(pg_catalog.~) 'outbox[.]' limit 5")
        .fetch_all(&mut PgConnection::connect(&format!("{url}?options=-csearch_path%3Dpg_catalog")).await.unwrap())
        .await
        .unwrap()
}

/// Guards SECURITY.md: functions and operators that a role planted in `public` do not run as the role that migrates, grants,
/// relays, works or operates. Nor do they run within `enqueue`.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_schema_runs() {
    let role = format!("planter_{:08x}", fastrand::u32(..));
    let fresh = new_database(cluster()).await;
    plant(&fresh, &role).await;
    let migrated =
        Process::start(&programs().join("relay"), ["migrate"], &[("DATABASE_URL", fresh.as_str())]).unwrap();
    let mut migrated = migrated;
    migrated.wait_for("migrated the outbox schema").await.unwrap();
    let mut conn = PgConnection::connect(&fresh).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    for part in ["publisher", "relay", "worker", "operator"] {
        sqlx::query("select outbox.grant_to($1, $2)")
            .bind(&role)
            .bind(part)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    assert_eq!(loot(&fresh).await, []);

    let world = World::new(ROUTER).await;
    plant(&world.url, &role).await;
    let relay = world.relay_process_in(&[("OUTBOX_RETENTION", "2s")]);
    let worker = world.worker_process();
    world.rpcs.on("Test/TwoA", |_| {
        Box::pin(async { Err(connectrpc::ConnectError::invalid_argument("no such card")) })
    });
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(
            async move { if first { Err(connectrpc::ConnectError::internal("not yet")) } else { Ok(()) } },
        )
    });
    let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    let two = world.publish(crate::world::Two { n: 1 }).await;
    let mut publisher = PgConnection::connect(&world.url).await.unwrap();
    publisher
        .execute("select outbox.enqueue('event_one', '{\"n\":1}', 'key', '{\"tenant\":\"t-1\"}')")
        .await
        .unwrap();
    for built in [
        "select outbox.enqueue('event_one', '{\"n\":1}'::pg_catalog.jsonb, 'key', '{\"tenant\":\"t-1\"}'::pg_catalog.jsonb)",
        "select outbox.enqueue('event_one', '{\"n\":1}'::pg_catalog.json)",
        "select outbox.enqueue_all(array['event_one'], array['{\"n\":1}'::pg_catalog.jsonb])",
    ] {
        publisher.execute(built).await.unwrap();
    }
    // A service has `public` first in its path. Its own statements would find the planted names; the outbox's do not.
    publisher
        .execute("set application_name = 'outbox publisher'; set search_path = public, pg_catalog")
        .await
        .unwrap();
    publisher
        .execute("select outbox.enqueue('event_one', '{\"n\":1}', 'key', '{\"tenant\":\"t-1\"}')")
        .await
        .unwrap();
    publisher.execute("select outbox.enqueue('event_one', '{\"n\":1,\"n\":2}')").await.unwrap_err();
    let mut tx = publisher.begin().await.unwrap();
    outbox::enqueue(&mut tx, One { n: 1 }).await.unwrap();
    outbox::enqueue_all(&mut tx, [Entry::new(One { n: 1 }), Entry::new(One { n: 2 })]).await.unwrap();
    tx.commit().await.unwrap();
    publisher.execute("set search_path = pg_catalog").await.unwrap();
    world.rpcs.until_done("Test/One", &ids).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    // Until the rings turn, too.
    world.until("select last_value > 0 from outbox.event_slot").await;
    for command in [
        vec!["status"],
        vec!["why", &two.to_string()],
        vec!["doctor"],
        vec!["dlq", "list"],
        vec!["dlq", "redrive", "--all", "--force", "--yes"],
        vec!["dlq", "drop", "--all", "--yes"],
        vec!["parked", "list"],
        vec!["parked", "retry", "--all"],
        vec!["parked", "drop", "--all", "--yes"],
        vec!["poison", "--rpc", "Test/TwoA", "--yes"],
        vec!["pause", "--rpc", "Test/TwoA", "--why", "it"],
        vec!["resume", "--rpc", "Test/TwoA"],
        vec!["limit", "--rpc", "Test/TwoA", "--concurrency", "2", "--why", "it"],
        vec!["replay", "--since", "1h", "--run"],
        vec!["replay", "--since", "1h", "--run", "--force", "--yes"],
        vec!["audit"],
    ] {
        if command.contains(&"--force") {
            world.rpcs.forget();
        }
        let router = world.router_file.display().to_string();
        let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", router.as_str())];
        let output =
            std::process::Command::new(programs().join("outbox")).args(&command).envs(env).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code <= 1), "{command:?}: {output:?}");
    }
    assert_eq!(loot(&world.url).await, []);
    drop((relay, worker, migrated));
    world.finish().await;
}

/// Guards SECURITY.md: no planted function runs while a service's own connection migrates, with any search path.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_in_any_session_runs_nothing_of_another_schema() {
    let url = new_database(cluster()).await;
    plant(&url, &format!("planter_{:08x}", fastrand::u32(..))).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    let path: String = sqlx::query_scalar("show search_path").fetch_one(&mut conn).await.unwrap();
    assert!(path.contains("public"), "the session's own path is back: {path}");
    conn.execute("set search_path = pg_catalog").await.unwrap();
    let ran: Vec<String> =
        sqlx::query_scalar("select context from public.loot limit 5").fetch_all(&mut conn).await.unwrap();
    assert_eq!(ran, [] as [String; 0]);
}

/// Guards SECURITY.md: no function resolves a name by its caller's search path. Each sets its own, or was bound when it was
/// made. Only `enqueue` does neither, because it is called for each event. All of its names are qualified, which
/// `nothing_of_another_schema_runs` tests.
#[tokio::test(flavor = "multi_thread")]
async fn no_function_looks_where_its_caller_does() {
    let world = World::new(ROUTER).await;
    let open: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc as p
         where p.pronamespace = 'outbox'::regnamespace and p.prosqlbody is null
           and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
           and p.oid <> 'outbox.enqueue(text, text, text, text, uuid)'::regprocedure",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(open, [] as [String; 0]);
    world.finish().await;
}
