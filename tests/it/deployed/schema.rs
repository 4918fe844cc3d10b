use sqlx::{Connection, PgConnection};
use testkit::process::Process;

use crate::world::{ROUTER, World, cluster, new_database, programs};

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

/// Guards: a relay or worker with a missing, older or newer schema names the remedy and exits with 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_refused() {
    let world = World::new(ROUTER).await;
    let own = outbox_schema::VERSION;
    let older = own - 1;
    let missing = "has no outbox schema: run `relay migrate`".to_owned();
    let cases = [
        (
            "update outbox.migration set version = 99 where version = (select max(version) from outbox.migration)",
            format!("is at version 99, this build knows only {own}"),
        ),
        (
            "delete from outbox.migration where version = 99",
            format!("is at version {older}, this build needs {own}"),
        ),
        ("delete from outbox.migration", missing.clone()),
        ("drop schema outbox cascade", missing),
    ];
    for (change, expected) in cases {
        world.execute(change).await;
        for mut process in [world.relay_process(), world.worker_process()] {
            process.wait_for(&expected).await.unwrap();
            assert_eq!(process.ended().await.unwrap().code(), Some(3));
        }
    }
    world.finish().await;
}
