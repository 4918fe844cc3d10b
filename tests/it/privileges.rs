use std::time::Duration;

use outbox_schema::Source;
use sqlx::{Connection, PgConnection};

use crate::world::{One, ROUTER, World, relay_settings};

/// Guards what SECURITY.md says: relay and worker need a role that owns the schema `outbox`, and can do nothing with the
/// service's tables.
#[tokio::test(flavor = "multi_thread")]
async fn relay_and_worker_need_their_own_schema_and_nothing_else() {
    let mut world = World::new(ROUTER).await;
    let role = format!("outbox_{}", world.source.name());
    world.execute("drop schema outbox cascade").await;
    world.execute("create table account (balance bigint not null)").await;
    world.execute(&format!("create role {role} login")).await;
    world.execute(&format!("grant create on database {} to {role}", world.source.name())).await;

    let url = world.url.replace("postgres://outbox@", &format!("postgres://{role}@"));
    assert_ne!(url, world.url);
    let mut conn = PgConnection::connect(&url).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    let denied = sqlx::query("select * from account").execute(&mut conn).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");

    world.source = url.parse::<Source>().unwrap();
    let retention = Duration::from_millis(500);
    world.relay_with(relay::relay::Settings { retention, ..relay_settings() });
    world.worker();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_settled().await;
    // Truncated, after its retention.
    world.until("select not exists (select from outbox.event)").await;
    world.finish().await;
}
