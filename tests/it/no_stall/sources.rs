use testkit::process::Process;

use crate::world::{One, ROUTER, World, cluster, new_database, programs};

/// Guards promise 6: of several databases one has no schema, and one loses it under the relay. The relay leads the others,
/// names the trouble of each, and leads it once it is repaired. The process ends only if it can use no database.
#[tokio::test(flavor = "multi_thread")]
async fn one_databases_schema_is_its_own_trouble() {
    let mut world = World::new(ROUTER).await;
    let other = world.beside(ROUTER).await;
    let bare = new_database(cluster()).await;
    let router = world.router_file.display().to_string();
    let sources = format!("good={} other={} bare={bare}", world.url, other.url);
    let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0"];
    let mut relay =
        Process::start(&programs().join("relay"), args, &[("OUTBOX_SOURCES", sources.as_str())]).unwrap();
    relay.wait_for("the database has no outbox schema").await.unwrap();
    world.worker();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;

    other.until("select pid is not null from outbox.leader").await;
    other.execute("alter schema outbox rename to away").await;
    other.until("select exists (select from pg_namespace where nspname = 'away')").await;
    let id = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    other.execute("alter schema away rename to outbox").await;
    other.publish(One { n: 3 }).await;
    other.until("select count(*) = 1 from outbox.delivery").await;

    let mut migrate =
        Process::start(&programs().join("relay"), ["migrate"], &[("DATABASE_URL", bare.as_str())]).unwrap();
    migrate.wait_for("migrated the outbox schema").await.unwrap();
    relay.wait_for("leading").await.unwrap();
    relay.stop().await.unwrap();

    let unusable = new_database(cluster()).await;
    let mut alone =
        Process::start(&programs().join("relay"), args, &[("DATABASE_URL", unusable.as_str())]).unwrap();
    alone.wait_for("the database has no outbox schema").await.unwrap();
    assert_eq!(alone.ended().await.unwrap().code(), Some(3));
    drop(migrate);
    other.finish().await;
    world.finish().await;
}
