//! Faults in the database: crashes, readers, copies, and other sessions.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::database::{STRANGER, insist};
use crate::domain::APPLICATION;
use crate::fleet::{SECOND, SOURCE};
use crate::routes::Rpc;
use crate::run::Failure;
use crate::world::World;

/// The number of messages that arrive again.
pub(super) const COPIES: usize = 20;
/// Timeouts for interactive sessions, with ranges in milliseconds. Older servers lack some of them.
const TIMEOUTS: [(&str, std::ops::Range<u64>); 5] = [
    ("statement_timeout", 20..2000),
    ("lock_timeout", 5..500),
    ("idle_in_transaction_session_timeout", 50..2000),
    ("idle_session_timeout", 100..2000),
    ("transaction_timeout", 100..3000),
];
/// The locks of the doorbell and of migrations, and a former lock of leadership.
const BELL: i32 = 1_869_968_994;
/// Former locks of queues.
const QUEUES: i32 = 1_869_968_995;

pub(super) async fn crash(world: &World, down: Duration, clock_off_ms: i64) -> Result<(), Failure> {
    let cluster = Arc::clone(&world.cluster);
    tokio::task::spawn_blocking(move || cluster.crash()).await??;
    tokio::time::sleep(down).await;
    let cluster = Arc::clone(&world.cluster);
    let clock =
        world.faketime.as_ref().map(|faketime| faketime.environment(clock_off_ms)).unwrap_or_default();
    tokio::task::spawn_blocking(move || cluster.restart(&clock)).await??;
    Ok(())
}

/// Reads as a dump or a report does.
pub(super) async fn read_slowly(world: &World, lasts: Duration) -> Result<(), Failure> {
    let mut reading = world.pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *reading).await?;
    sqlx::query("select count(*) from outbox.parked").execute(&mut *reading).await?;
    sqlx::query("lock table outbox.event, outbox.delivery, outbox.cursor in access share mode")
        .execute(&mut *reading)
        .await?;
    tokio::time::sleep(lasts).await;
    Ok(reading.rollback().await?)
}

/// A session keeps a snapshot. An RPC fails for most of that time, and works again for the rest.
pub(super) async fn retry_under_snapshot(world: &World, lasts: Duration) -> Result<(), Failure> {
    let mut reading = world.pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *reading).await?;
    sqlx::query("select count(*) from outbox.retry").execute(&mut *reading).await?;
    world.rpcs.fail(Rpc::Steady, lasts.mul_f64(0.6)).await;
    tokio::time::sleep(lasts.mul_f64(0.4)).await;
    Ok(reading.rollback().await?)
}

/// Writes second copies of messages, as a queue with at-least-once delivery may do.
pub(super) async fn duplicate(world: &World) -> Result<(), Failure> {
    sqlx::query(
        "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
         select nextval('torture.copy'), d.queue, d.event_id, d.body, clock_timestamp(), 0, clock_timestamp(),
                'torture', 'a second copy'
         from (select * from outbox.delivery order by random() limit $1) as d",
    )
    .bind(i64::try_from(COPIES)?)
    .execute(&world.pool)
    .await?;
    Ok(())
}

/// Sets some timeouts for the database or the role; then removes them, and ends the publishers' sessions.
pub(super) async fn limit_sessions(world: &World, dice: u64, lasts: Duration) -> Result<String, Failure> {
    let mut random = fastrand::Rng::with_seed(dice);
    let whom = random.choice(["database torture", "role outbox", "role outbox in database torture"]);
    let whom = whom.unwrap_or_default();
    let known: Vec<String> =
        sqlx::query_scalar("select name from pg_settings").fetch_all(&world.pool).await?;
    let known = TIMEOUTS.into_iter().filter(|(name, _)| known.iter().any(|known| known == name));
    let mut settings: Vec<(&str, u64)> = known.map(|(name, range)| (name, random.u64(range))).collect();
    random.shuffle(&mut settings);
    settings.truncate(random.usize(1..=settings.len()));
    let limited = insist(|| limit(world, whom, &settings)).await;
    tokio::time::sleep(lasts).await;
    insist(|| unlimit(world, whom, &settings)).await?;
    limited?;
    let settings: Vec<String> = settings.iter().map(|(name, millis)| format!("{name} {millis} ms")).collect();
    Ok(format!("{whom}: {}", settings.join(", ")))
}

async fn limit(world: &World, whom: &str, settings: &[(&str, u64)]) -> Result<(), Failure> {
    for (name, millis) in settings {
        execute(world, format!("alter {whom} set {name} = {millis}")).await?;
    }
    end_sessions(world, "outbox %").await?;
    end_sessions(world, APPLICATION).await
}

async fn unlimit(world: &World, whom: &str, settings: &[(&str, u64)]) -> Result<(), Failure> {
    for (name, _) in settings {
        execute(world, format!("alter {whom} reset {name}")).await?;
    }
    end_sessions(world, APPLICATION).await
}

async fn execute(world: &World, statement: String) -> Result<(), Failure> {
    sqlx::query(AssertSqlSafe(statement)).execute(&world.pool).await?;
    Ok(())
}

/// Ends the sessions with this application name, in every database.
pub(super) async fn end_sessions(world: &World, application: &str) -> Result<(), Failure> {
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1")
        .bind(application)
        .execute(&world.pool)
        .await?;
    Ok(())
}

/// A role without any privilege takes advisory locks of the outbox, and waits for locks that it does not get.
pub(super) async fn hold_locks(world: &World, dice: u64, lasts: Duration) -> Result<String, Failure> {
    let mut random = fastrand::Rng::with_seed(dice);
    let database = if random.u8(0..4) == 0 { SECOND } else { SOURCE };
    let options: PgConnectOptions = world.cluster.url(database).parse()?;
    let options = options.username(STRANGER).application_name("torture stranger");
    let mut conn = insist(|| stranger(&options)).await?;
    let mut held = Vec::new();
    for _ in 0..random.u8(1..4) {
        let shared = if random.bool() { "_shared" } else { "" };
        let (class, object) =
            if random.u8(0..4) > 0 { (BELL, random.i32(1..4)) } else { (QUEUES, random.i32(1..7)) };
        held.push(format!("pg_advisory_lock{shared}({class}, {object})"));
    }
    let holding = async {
        for lock in &held {
            // A timeout of the server ends the wait, even if this client is gone.
            let millis = lasts.as_millis().max(1);
            sqlx::raw_sql(AssertSqlSafe(format!("set lock_timeout = {millis}"))).execute(&mut conn).await?;
            let _ = sqlx::query(AssertSqlSafe(format!("select {lock}"))).execute(&mut conn).await;
        }
        std::future::pending::<Result<(), Failure>>().await
    };
    match tokio::time::timeout(lasts, holding).await {
        Ok(ended) => ended?,
        // Possibly in the middle of a statement.
        Err(_) => drop(conn),
    }
    Ok(format!("{database}: {}", held.join(", ")))
}

async fn stranger(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    Ok(options.connect().await?)
}
