use std::process::Command;

use sqlx::{Connection, PgConnection};
use testkit::process::Process;

use crate::release::run;
use crate::role::role;
use crate::world::{One, ROUTER, World, cluster, new_database, programs};

/// Guards: `relay migrate` makes the schema, and a second run changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing() {
    let url = new_database(cluster()).await;
    let env = [("DATABASE_URL", url.as_str())];
    let mut first = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
    let to = outbox_schema::VERSION;
    first.wait_for(&format!("migrated the outbox schema from version 0 to {to}")).await.unwrap();
    assert!(first.ended().await.unwrap().success());
    let fingerprint = "select md5(string_agg(c.oid::text || c.relname, ',' order by c.oid)) from pg_class as c where relnamespace = 'outbox'::regnamespace";
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let before: String = sqlx::query_scalar(fingerprint).fetch_one(&mut conn).await.unwrap();
    let mut second = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
    second.wait_for(&format!("at version {to}: nothing to do")).await.unwrap();
    assert!(second.ended().await.unwrap().success());
    let after: String = sqlx::query_scalar(fingerprint).fetch_one(&mut conn).await.unwrap();
    assert_eq!(before, after);
}

/// Guards: a relay or worker with a missing or older schema, or with a newer one that does not take it, names the remedy and
/// exits with 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_refused() {
    let world = World::new(ROUTER).await;
    let own = outbox_schema::VERSION;
    let older = own - 1;
    let missing = "has no outbox schema: run `relay migrate`".to_owned();
    let cases = [
        (
            "update outbox.migration set version = 99 where version = (select max(version) from outbox.migration);
             create or replace function outbox.schema_compatible_from() returns bigint language sql return 98::bigint",
            format!("is at version 99, this build knows only {own}, and that schema takes builds from version 98 on: upgrade relay, worker"),
        ),
        (
            "drop function outbox.schema_compatible_from()",
            format!("this build knows only {own}, and that schema takes no older builds: upgrade"),
        ),
        (
            "delete from outbox.migration where version = 99",
            format!("is at version {older}, this build needs {own}"),
        ),
        ("delete from outbox.migration", missing.clone()),
        ("drop schema outbox cascade", missing),
    ];
    for (change, expected) in cases {
        for statement in change.split(';') {
            world.execute(statement).await;
        }
        for mut process in [world.relay_process(), world.worker_process()] {
            process.wait_for(&expected).await.unwrap();
            assert_eq!(process.ended().await.unwrap().code(), Some(3));
        }
    }
    world.finish().await;
}

/// What a later version's migration leaves: its row, and the oldest build that it takes.
async fn migrate_later(world: &World, oldest: i64) {
    let newer = outbox_schema::VERSION + 1;
    world
        .execute(&format!(
            "insert into outbox.migration (version, description, success, checksum, execution_time)
             values ({newer}, 'later', true, '', 0) on conflict do nothing"
        ))
        .await;
    let takes =
        "create or replace function outbox.schema_compatible_from() returns bigint language sql return";
    world.execute(&format!("{takes} {oldest}::bigint")).await;
}

/// Guards: during a rolling deploy, and after a rollback, this build works with a schema that is newer and takes it. Its roles
/// may ask which builds are taken, and its `relay migrate` leaves that schema alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_that_takes_this_build_is_worked_on() {
    let world = World::new(ROUTER).await;
    let own = outbox_schema::VERSION;
    migrate_later(&world, own).await;
    for part in ["relay", "worker", "operator"] {
        let mut conn = PgConnection::connect(&role(&world, part).await).await.unwrap();
        sqlx::query("set search_path = pg_catalog").execute(&mut conn).await.unwrap();
        outbox_schema::check(&mut conn).await.unwrap_or_else(|error| panic!("{part}: {error}"));
    }
    let (relay, worker) = (world.relay_process(), world.worker_process());
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    let env = [("DATABASE_URL", world.url.as_str())];
    let mut migrate = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
    migrate.wait_for(&format!("at version {}: nothing to do", own + 1)).await.unwrap();
    assert!(migrate.ended().await.unwrap().success());
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();

    migrate_later(&world, own + 1).await;
    let mut migrate = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
    migrate.wait_for(&format!("takes builds from version {} on: upgrade", own + 1)).await.unwrap();
    assert_eq!(migrate.ended().await.unwrap().code(), Some(3));
    world.finish().await;
}

/// Guards: no migration asks for a build that is newer than itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_takes_its_own_build() {
    let world = World::new(ROUTER).await;
    let oldest: i64 = world.scalar("select outbox.schema_compatible_from()").await;
    assert!((1..=outbox_schema::VERSION).contains(&oldest), "{oldest}");
    world.finish().await;
}

/// Guards: a schema `outbox` of another product is left as it is, and the refusal says whose it is and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_product_is_refused() {
    let cases = [
        ("create table outbox.event (id bigint)", "it has event, and belongs to "),
        ("create table outbox.migration (version text)", "it has migration, and belongs to "),
        (
            "create table outbox.a (n int); create view outbox.b as select 1; create table outbox.c (n int); create table outbox.d (n serial)",
            "it has a, b, c, more, and belongs to ",
        ),
    ];
    let ways: [&[&str]; 2] = [&["migrate"], &["migrate", "--inbox"]];
    for ((made, expected), args) in cases.into_iter().flat_map(|case| ways.map(|args| (case, args))) {
        let url = new_database(cluster()).await;
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let made = format!("create schema outbox; {made}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut conn).await.unwrap();
        let before = columns(&mut conn).await;
        let env = [("DATABASE_URL", url.as_str())];
        let mut migrate = Process::start(&programs().join("relay"), args.iter().copied(), &env).unwrap();
        let said = migrate.wait_for("is of another product").await.unwrap();
        assert!(said.contains(expected) && said.contains("rename that one"), "{said}");
        assert_eq!(migrate.ended().await.unwrap().code(), Some(3));
        // A service that migrates by the library is refused in the same words.
        let error = match args.len() {
            1 => outbox_schema::migrate(&mut conn).await.unwrap_err(),
            _ => outbox_schema::inbox::migrate(&mut conn).await.unwrap_err(),
        };
        assert!(matches!(error, outbox_schema::SchemaError::Occupied { .. }), "{error:?}");
        assert!(said.contains(&error.to_string()), "{error}, and not: {said}");
        assert_eq!(columns(&mut conn).await, before);
    }
}

/// Everything that the schema's tables consist of.
async fn columns(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(column_default, '-')
         from information_schema.columns where table_schema = 'outbox' order by 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn printed(url: Option<&str>) -> String {
    let mut relay = tokio::process::Command::new(programs().join("relay"));
    relay.args(["migrate", "--print"]).env_remove("DATABASE_URL").env_remove("OUTBOX_SOURCES");
    let output = relay.envs(url.map(|url| ("DATABASE_URL", url))).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Guards: the SQL that `relay migrate --print` prints makes the same schema as `relay migrate`, which has nothing to do
/// afterwards. It can be run in two parts, and printing changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_printed_sql_makes_the_schema() {
    let world = World::new(ROUTER).await;
    let to = outbox_schema::VERSION;
    let url = new_database(cluster()).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let all = printed(None).await;
    assert!(printed(Some(&url)).await.ends_with(&all), "an empty database needs all");
    assert_eq!(outbox_schema::version(&mut conn).await.unwrap(), 0);

    let half = all.find("\ncommit;\n").unwrap() + "\ncommit;\n".len();
    sqlx::raw_sql(sqlx::AssertSqlSafe(all[..half].to_owned())).execute(&mut conn).await.unwrap();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    assert_eq!(outbox_schema::version(&mut conn).await.unwrap(), 1);
    let rest = printed(Some(&url)).await;
    assert!(!rest.contains("create schema"), "{rest}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(rest)).execute(&mut conn).await.unwrap();

    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut made = PgConnection::connect(&world.url).await.unwrap();
    assert_eq!(columns(&mut conn).await, columns(&mut made).await);
    assert!(printed(Some(&url)).await.contains(&format!("at version {to}: nothing to do")));
    let env = [("DATABASE_URL", url.as_str())];
    let mut migrate = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
    migrate.wait_for(&format!("at version {to}: nothing to do")).await.unwrap();
    assert!(migrate.ended().await.unwrap().success());
    sqlx::query("set search_path = pg_catalog").execute(&mut conn).await.unwrap();
    outbox_schema::check(&mut conn).await.unwrap();
    world.finish().await;
}

/// Guards UPGRADING: a released migration never changes. A new one gets its line when it is released.
#[test]
fn released_migrations_are_as_they_were_released() {
    let folder = testkit::process::root().join("migrations");
    let released = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap().lines().count();
    assert!(released >= 12, "a line is gone");
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder));
}
