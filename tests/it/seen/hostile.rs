//! Hostile names and texts from roles, servers and rows, in output and in commands to paste.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;

use crate::operator::{ROUTER, Said, outbox, paste};
use crate::world::World;

/// Ends a literal and an identifier, runs a statement and a shell command, and draws on a terminal. It also reverses the
/// reading direction, hides, and begins a line of its own.
const HOSTILE: &str = "x'\"; drop schema outbox cascade; -- '; touch pwned; '$(touch pwned)`touch pwned`\\ \u{1b}[2K\u{9b}1A\u{202e}\u{200b}\u{2066}\r\nFORGED all is well";
const EVENT: &str = "0198c7e2-0000-7000-8000-000000000001";

/// Puts it into every text that others can choose.
async fn fill(world: &World) {
    for statement in [
        "insert into outbox.event (id, name, key, payload, slot, xid, occurred_at) values ($1, $2, $2, '{}', 0, '3', now() - interval '1 minute')",
        "insert into outbox.parked (seq, id, name, key, payload, occurred_at, code, reason) values (7, gen_random_uuid(), $2, $2, '{}', now(), $2, $2 || $1::text)",
        "insert into outbox.queue (rpc) values ($2 || left($1::text, 0)), ('Test/One')",
        "insert into outbox.delivery (queue, event_id, body, slot) select id, $1, $2, 0 from outbox.queue order by id",
        "insert into outbox.claim (queue, token, first_seq, last_seq, until, worker) select id, 1, 1, 1, now() + interval '1 hour', $2 || left($1::text, 0) from outbox.queue order by id limit 1",
        "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
         select 100 + id, id, $1, $2, now(), id - 1, now() - interval '5 minutes', $2, $2 from outbox.queue",
        "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
         select 200 + id, id, $1, $2, now(), 3, $2, $2 from outbox.queue",
        "insert into outbox.audit (id, at, who, role, command, result) values ($1, now(), $2, $2, $2, $2)",
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select pg_current_snapshot()::text, 1, 1, system_identifier, $2 || left($1::text, 0), 0 from pg_control_system()",
    ] {
        sqlx::query(statement)
            .bind(EVENT.parse::<uuid::Uuid>().unwrap())
            .bind(HOSTILE)
            .execute(&world.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// The output has no control character, no change of direction, and no line that a hostile text began.
#[track_caller]
fn assert_clean(said: &Said, what: &str) {
    for text in [&said.out, &said.err] {
        let odd = text.chars().find(|&c| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        });
        assert_eq!(odd, None, "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("FORGED")), "{what}:\n{text}");
    }
    assert!(!said.err.contains("panicked"), "{what}: {said:?}");
}

/// Guards SECURITY.md: no command prints control characters from a role, a server or a row, and no name begins a line of its
/// own.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_control_no_terminal() {
    let world = World::new(ROUTER).await;
    fill(&world).await;
    let parked: uuid::Uuid = world.scalar("select id from outbox.parked").await;
    for args in [
        "status".to_owned(),
        format!("why {EVENT}"),
        format!("why {parked}"),
        "dlq list".to_owned(),
        "dlq show 202".to_owned(),
        "dlq show 202 --payload".to_owned(),
        "dlq redrive --all --dry-run".to_owned(),
        "parked list".to_owned(),
        "parked retry --all --dry-run".to_owned(),
        "audit".to_owned(),
        "doctor".to_owned(),
        "replay --since 1h".to_owned(),
    ] {
        let said = outbox(&world, &args).await;
        assert_clean(&said, &args);
        assert!(said.code <= 1, "{args}: {said:?}");
        if !args.contains("--dry-run") {
            let said = outbox(&world, &format!("{args} --format json")).await;
            assert_clean(&said, &args);
            said.json();
        }
    }
    // Postgres's own message, with a name in it.
    world.execute("create function outbox.refuse() returns trigger language plpgsql as $$ begin raise exception using message = (select relay from outbox.cursor order by id desc limit 1), errcode = '42501'; end $$").await;
    world.execute("create trigger refuse before delete on outbox.parked for each row execute function outbox.refuse()").await;
    let said = outbox(&world, "parked drop --all --yes").await;
    assert_clean(&said, "parked drop");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("drop schema outbox"), "it is said what the server said: {said:?}");
    world.finish().await;
}

/// Guards SECURITY.md: a command to paste stays one command, with any name in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_to_paste_stays_one_command() {
    let world = World::new(ROUTER).await;
    fill(&world).await;
    let dir = world.router_file.with_extension("pasted");
    std::fs::create_dir(&dir).unwrap();
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
    let mut pasted = 0;
    for args in
        ["status".to_owned(), format!("why {EVENT}"), "dlq list".to_owned(), "dlq show 202".to_owned()]
    {
        let said = outbox(&world, &args).await;
        let commands: Vec<&str> =
            said.out.lines().filter_map(|line| line.find(": outbox ").map(|at| &line[at + 2..])).collect();
        for command in commands {
            let ran = paste(&env, &format!("cd {} && {command} </dev/null", dir.display())).await;
            assert!(!ran.err.contains("sh:"), "{command}: {ran:?}");
            pasted += 1;
        }
    }
    assert!(pasted >= 5, "{pasted}");
    let made: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
    assert!(made.is_empty(), "a name ran a command: {made:?}");
    world.until("select exists (select from pg_namespace where nspname = 'outbox')").await;
    world.finish().await;
}

/// The lines of `doctor`'s hint for the finding that contains `about`.
fn hint(said: &Said, about: &str) -> Vec<String> {
    let json = said.json();
    let all = json["findings"].as_array().unwrap();
    let finding = all.iter().find(|finding| finding["message"].as_str().unwrap().contains(about));
    let finding = finding.unwrap_or_else(|| panic!("nothing about {about}: {json:#}"));
    finding["hint"].as_str().unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Runs a line as `psql` runs pasted text.
async fn run(conn: &mut PgConnection, line: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(line.to_owned())).execute(conn).await;
    ran.unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// Guards SECURITY.md: the statements that `doctor` suggests for a prepared transaction, a role, a publication and a slot
/// affect only those, with any name.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctors_statements_do_only_what_they_say() {
    let cluster = Cluster::tuned(&[("max_prepared_transactions", "10"), ("wal_level", "logical")]).unwrap();
    let world = World::on(ROUTER, &cluster).await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    let short: String =
        HOSTILE.chars().filter(|c| !"`$".contains(*c)).collect::<String>().replace("touch pwned", "");
    let role = format!("evil\"; drop schema outbox cascade; -- \u{1b}[2K\n{}", &world.source.name()[5..]);

    // A prepared transaction.
    let gid = short.replace('\\', "\\\\").replace('\'', "\\'");
    run(&mut conn, "begin; create table public.witness ()").await;
    run(&mut conn, &format!("prepare transaction E'{gid}'")).await;
    let said = outbox(&world, "doctor").await;
    assert_clean(&said, "doctor");
    let why = outbox(&world, &format!("why {EVENT}")).await;
    assert_clean(&why, "why");
    assert!(why.out.contains("prepared transaction E'x''"), "{why:?}");
    let lines = hint(&outbox(&world, "doctor --format json").await, "prepared transaction");
    let rollback = lines.iter().find(|line| line.starts_with("rollback prepared ")).expect("a way back");
    run(&mut conn, rollback).await;
    world.until("select not exists (select from pg_prepared_xacts)").await;

    // A role without privileges, which then gets the missing grants.
    run(&mut conn, &format!("create role \"{}\" login", role.replace('"', "\"\""))).await;
    let encoded: String = role.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = world.url.replace("outbox@", &format!("{encoded}@"));
    let router = world.router_file.display().to_string();
    let look = async |format: &str| {
        let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", router.as_str())];
        paste(&env, &format!("outbox doctor {format}")).await
    };
    assert_clean(&look("").await, "doctor of a role");
    for about in ["does not see how old", "can't be the role of relay", "can't be the role of worker"] {
        for line in hint(&look("--format json").await, about).iter().filter(|line| line.starts_with("grant "))
        {
            run(&mut conn, line).await;
        }
    }
    let said = look("").await;
    assert!(
        said.out.contains("may do what relay does") && said.out.contains("may do what worker does"),
        "{said:?}"
    );
    assert!(!said.out.contains("does not see how old"), "{said:?}");

    // Publications, and a slot without a reader.
    run(
        &mut conn,
        "create publication \"p\"\"'; drop schema outbox cascade; --\u{1b}[2K\u{202e}\" for all tables",
    )
    .await;
    run(&mut conn, "select pg_create_logical_replication_slot('forgotten', 'pgoutput')").await;
    let said = outbox(&world, "doctor").await;
    assert_clean(&said, "doctor of a publication");
    assert!(said.out.contains("publication"), "{said:?}");
    for line in hint(&outbox(&world, "doctor --format json").await, "replication slot") {
        run(&mut conn, line.split(": ").last().unwrap()).await;
    }
    world.until("select not exists (select from pg_replication_slots)").await;
    world.until("select exists (select from pg_namespace where nspname = 'outbox')").await;
    let _: DateTime<Utc> = world.scalar("select at from outbox.newest_cursor").await;
    world.finish().await;
}
