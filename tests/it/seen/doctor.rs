use serde_json::Value;
use sqlx::{Connection, PgConnection};
use testkit::process::Process;

use crate::operator::{ROUTER, Said, outbox, paste};
use crate::pgbouncer::PgBouncer;
use crate::world::{One, PATIENCE, World, cluster, new_database, programs};

/// The findings, as `severity place: message`. Each that needs a repair has a hint.
pub(super) fn findings(said: &Said) -> Vec<String> {
    let json = said.json();
    let of = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let well = ["ok", "skipped"].contains(&text("severity").as_str());
        assert!(well || !text("hint").is_empty(), "no hint: {finding}");
        format!("{} {}: {}", text("severity"), text("place"), text("message"))
    };
    json["findings"].as_array().unwrap().iter().map(of).collect()
}

#[track_caller]
pub(super) fn assert_finds(said: &Said, begins: &str) {
    let findings = findings(said);
    assert!(findings.iter().any(|finding| finding.starts_with(begins)), "no `{begins}` in {findings:#?}");
}

/// Guards promise 8: where nothing is wrong, every check runs and reports success.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_that_all_is_well() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.until_relay_sleeps().await;
    let endpoint = format!("--endpoint Test=http://{}", world.rpcs.addr);
    let said = outbox(&world, &format!("doctor --format json {endpoint}")).await;
    let name = world.source.name();
    assert_eq!(said.code, 0, "{said:?}");
    for begins in [
        format!("ok {}: 2 routes", world.router_file.display()),
        format!("ok {name}: PostgreSQL 1"),
        format!("ok {name}: schema version {}", outbox_schema::VERSION),
        format!("ok {name}: outbox may do what relay does"),
        format!("ok {name}: outbox may do what worker does"),
        format!("ok {name}: outbox relay (leader), pid "),
        format!("ok Test: {} accepts connections", world.rpcs.addr),
    ] {
        assert_finds(&said, &begins);
    }
    assert!(outbox(&world, "doctor").await.out.ends_with("All is well."));
    world.finish().await;
}

/// Guards promise 8: each common mistake is named, with its place and remedy, and sets the exit code.
#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_named() {
    let world = World::new(ROUTER).await;
    let (name, router) = (world.source.name().to_owned(), world.router_file.display().to_string());
    let said = outbox(&world, "doctor --format json --endpoint Test=http://127.0.0.1:1").await;
    assert_eq!(said.code, 1);
    assert_finds(&said, &format!("error {name}: no relay leads"));
    assert_finds(&said, "error Test: can't connect to 127.0.0.1:1");
    let said =
        outbox(&world, "doctor --format json --endpoint Tset=http://127.0.0.1:1 --endpoint nonsense").await;
    assert_finds(&said, "error Test: event_router.yaml calls it, and nothing says where it is");
    assert_finds(&said, "warning Tset: it has an address, and no route calls it");
    assert_finds(&said, "error nonsense: that is no service's address");

    // The database.
    let look = async |url: &str| {
        paste(&[("DATABASE_URL", url), ("OUTBOX_ROUTER", &router)], "outbox doctor --format json").await
    };
    assert_finds(&look("postgres://me:hunter2@127.0.0.1:1/cards").await, "error cards: can't connect: ");
    let bare = new_database(cluster()).await;
    let said = look(&bare).await;
    let bare_name = bare.rsplit('/').next().unwrap();
    assert_finds(
        &said,
        &format!("error {bare_name}: the database has no outbox schema: run `relay migrate`"),
    );
    let bouncer = PgBouncer::start(cluster(), &name).await;
    assert_finds(&look(&bouncer.url).await, &format!("error {name}: a pooler answered"));
    world.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    assert_finds(&look(&world.url).await, &format!("error {name}: transactions are read-only by default"));
    let mut admin = PgConnection::connect(&cluster().url("postgres")).await.unwrap();
    let writable = format!("alter database {name} reset default_transaction_read_only");
    sqlx::query(sqlx::AssertSqlSafe(writable)).execute(&mut admin).await.unwrap();
    let slot = format!("slot_{name}");
    sqlx::query("select pg_create_physical_replication_slot($1, true)")
        .bind(&slot)
        .execute(&mut admin)
        .await
        .unwrap();
    let said = look(&world.url).await;
    sqlx::query("select pg_drop_replication_slot($1)").bind(&slot).execute(&mut admin).await.unwrap();
    assert_finds(&said, &format!("warning {name}: replication slot {slot}: not in use"));
    let newer = outbox_schema::VERSION + 1;
    world.execute(&format!("insert into outbox.migration (version, description, success, checksum, execution_time) values ({newer}, 'later', true, '', 0)")).await;
    assert_finds(
        &look(&world.url).await,
        &format!(
            "ok {name}: schema version {newer}, which takes this build of version {}",
            outbox_schema::VERSION
        ),
    );
    world.execute(&format!("create or replace function outbox.schema_compatible_from() returns bigint language sql return {newer}::bigint")).await;
    assert_finds(
        &look(&world.url).await,
        &format!("error {name}: the database's outbox schema is at version {newer}"),
    );
    world.execute(&format!("delete from outbox.migration where version = {newer}")).await;

    // The routes.
    let bad = world.router_file.with_extension("bad.yaml");
    std::fs::write(&bad, "event:\n  - name: event_one\n    subscribr: []\n").unwrap();
    let said = outbox(&world, &format!("doctor --format json --router {}", bad.display())).await;
    assert_finds(&said, &format!("error {}:3:5: ", bad.display()));
    assert_finds(
        &outbox(&world, "doctor --format json --router /nowhere.yaml").await,
        "error /nowhere.yaml: there is no such file",
    );
    let proto = testkit::process::root().join("proto");
    let said = outbox(&world, &format!("doctor --format json --proto {}", proto.display())).await;
    assert_finds(&said, &format!("error {router}:3:11: there is no event 'event_one' in proto"));
    assert_eq!(outbox(&world, "doctor --proto /nowhere").await.code, 2);
    world.finish().await;
}

/// Guards: `doctor` names the grants that relay's and worker's roles lack, and those grants are enough for both.
#[tokio::test(flavor = "multi_thread")]
async fn the_named_grants_are_enough() {
    let world = World::new(ROUTER).await;
    let role = format!("role_{}", world.source.name());
    world.execute(&format!("create role {role} login")).await;
    let (url, router) =
        (world.url.replace("outbox@", &format!("{role}@")), world.router_file.display().to_string());
    let look = async || {
        paste(&[("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router)], "outbox doctor --format json")
            .await
    };
    let grants = |said: &Said, program: &str| -> Vec<String> {
        let json = said.json();
        let message = format!("{role} can't be the role of {program}");
        let finding =
            json["findings"].as_array().unwrap().iter().find(|finding| finding["message"] == message);
        let hint = finding.unwrap_or_else(|| panic!("{json:#}"))["hint"].as_str().unwrap().to_owned();
        hint.split("grant ").skip(1).map(|grant| format!("grant {}", grant.trim())).collect()
    };

    let said = look().await;
    assert_finds(&said, &format!("warning {}: {role} does not see how old", world.source.name()));
    assert!(
        said.code == 1
            && findings(&said).iter().any(|finding| finding.contains("can't be the role of worker")),
        "{said:?}"
    );
    for grant in grants(&said, "worker") {
        world.execute(&grant).await;
    }
    let said = look().await;
    assert_finds(&said, &format!("ok {}: {role} may do what worker does", world.source.name()));
    let for_relay = grants(&said, "relay");
    assert_finds(&said, &format!("warning {}: {role} can't be the role of relay", world.source.name()));
    for grant in for_relay {
        world.execute(&grant).await;
    }

    // Until both work, and rings turn.
    let env = [("DATABASE_URL", url.as_str())];
    let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--retention", "1s", "--log", "debug"];
    let mut relay = Process::start(&programs().join("relay"), args, &env).unwrap();
    let endpoint = format!("Test=http://{}", world.rpcs.addr);
    let args =
        ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--endpoint", &endpoint, "--visibility", "1s"];
    let worker = Process::start(&programs().join("worker"), args, &env).unwrap();
    world.rpcs.on("Test/One", |called| {
        let attempt = called.attempt;
        let n = crate::operator::n(called);
        Box::pin(async move {
            match (n, attempt) {
                (13, _) => Err(connectrpc::ConnectError::invalid_argument("no")),
                (14, 1) => Err(connectrpc::ConnectError::unavailable("no")),
                _ => Ok(()),
            }
        })
    });
    let id = world.publish(One { n: 1 }).await;
    world.publish(One { n: 13 }).await;
    world.publish(One { n: 14 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.retry where token is null").await;
    let turns = async {
        loop {
            let line = relay.line().await.expect("it runs");
            assert!(!line.contains("retention failed"), "{line}");
            if line.contains("truncated") {
                break;
            }
            world.publish(One { n: 1 }).await;
        }
    };
    tokio::time::timeout(PATIENCE, turns).await.expect("a ring turns");
    let said = look().await;
    assert_eq!(said.code, 0, "{said:?}");
    let status = paste(&[("DATABASE_URL", url.as_str())], "outbox status --format json").await;
    assert_eq!(status.json()["rpcs"][0]["dead"], 1, "{status:?}");
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards SECURITY.md: a function that relay or worker needs calls only functions that `doctor` names, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_named_functions_call_is_named() {
    let world = World::new(ROUTER).await;
    for program in ["relay", "worker"] {
        let role = format!("{program}_{}", world.source.name());
        world.execute(&format!("create role {role} login")).await;
        let url = world.url.replace("outbox@", &format!("{role}@"));
        let said = paste(&[("DATABASE_URL", url.as_str())], "outbox doctor --format json").await.json();
        let message = format!("{role} can't be the role of {program}");
        let finding =
            said["findings"].as_array().unwrap().iter().find(|finding| finding["message"] == message);
        let hint = finding.unwrap_or_else(|| panic!("{said:#}"))["hint"].as_str().unwrap();
        for grant in hint.split("grant ").skip(1) {
            world.execute(&format!("grant {}", grant.trim())).await;
        }
        let closed: Vec<String> = sqlx::query_scalar(
            "select distinct caller.proname || ' calls ' || called.proname
             from pg_proc as caller
             cross join lateral regexp_matches(pg_get_functiondef(caller.oid), 'outbox[.]([a-z0-9_]+)[(]', 'g') as named
             join pg_proc as called on called.pronamespace = caller.pronamespace and called.proname = named[1]
             where caller.pronamespace = 'outbox'::regnamespace and not caller.prosecdef
               and has_function_privilege($1, caller.oid, 'execute') and not has_function_privilege($1, called.oid, 'execute')",
        )
        .bind(&role)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert_eq!(closed, [] as [&str; 0], "{program}");
    }
    world.finish().await;
}
