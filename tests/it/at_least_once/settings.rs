use std::time::Duration;

use crate::world::{One, ROUTER, World};

/// Guards promises 2 and 6: settings of the database change nothing for relay and worker: session limits, a search path,
/// formats of values.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_change_nothing() {
    let world = World::new(ROUTER).await;
    let role = format!("limited_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {role} login")).await;
    for part in ["relay", "worker"] {
        world.execute(&format!("select outbox.grant_to('{role}', '{part}')")).await;
    }
    for setting in [
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "idle_session_timeout = '700ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "search_path = 'nowhere'",
        "standard_conforming_strings = off",
        "escape_string_warning = off",
        "array_nulls = off",
        "default_transaction_isolation = 'serializable'",
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "timezone = 'Pacific/Kiritimati'",
        "bytea_output = 'escape'",
        "enable_indexscan = off",
        "enable_nestloop = off",
        "enable_partition_pruning = off",
    ] {
        world.execute(&format!("alter role {role} set {setting}")).await;
    }
    let url = world.url.replace("outbox@", &format!("{role}@"));
    let mut relay = world.relay_process_in(&[("DATABASE_URL", &url)]);
    relay.wait_for("leading").await.unwrap();
    let worker = world.worker_process_in(&[("DATABASE_URL", &url)], &[]);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.publish(One { n }).await);
        world.rpcs.until_done("Test/One", &ids).await;
        // Longer than a session may be idle.
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    let connected = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'outbox relay (leader)'
                         and backend_start > (select since from outbox.leader)";
    assert_eq!(world.scalar::<i64>(connected).await, 0, "the leader's session was ended");
    assert_eq!(world.scalar::<i64>("select term from outbox.leader").await, 1);
    drop((relay, worker));
    world.finish().await;
}
