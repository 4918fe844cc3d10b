//! The run's databases: created, migrated, and queried again while they are down.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use testkit::cluster::Cluster;
use testkit::process::Process;

use crate::run::Failure;

/// Notes every delivery in the relay's own transaction, because deliveries are truncated soon. Runs again after the schema
/// was made anew.
pub(crate) const PUTS: &str = "
    create table if not exists torture.put (seq bigint, rpc text, event_id uuid);
    create or replace function torture.note_puts() returns trigger language plpgsql as $$
    begin
        insert into torture.put (seq, rpc, event_id)
        select n.seq, (select q.rpc from outbox.queue as q where q.id = n.queue), n.event_id from new as n;
        return null;
    end $$;
    create or replace trigger note_puts after insert on outbox.delivery referencing new table as new
        for each statement execute function torture.note_puts()";
/// A role with no privilege but to connect.
pub(crate) const STRANGER: &str = "stranger";
/// For the torture's own sessions: no timeouts.
const UNTIMED: &str = "
    select set_config(name, '0', false) from pg_settings
    where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
                   'transaction_timeout')";
/// Repeats a statement that a crash or another fault interrupted.
const INSISTS_FOR: Duration = Duration::from_secs(60);
const INSISTS_EVERY: Duration = Duration::from_millis(300);

/// A database with the schema, made by `relay migrate`.
pub(crate) async fn database(cluster: &Cluster, name: &str, bin: &Path) -> Result<PgPool, Failure> {
    let url = testkit::database::create(&cluster.url("postgres"), name).await?;
    migrate(&bin.join("relay"), &url).await?;
    let pool = PgPoolOptions::new().max_connections(12).after_connect(|conn, _| {
        Box::pin(async move { sqlx::query(UNTIMED).execute(conn).await.map(|_| ()) })
    });
    Ok(pool.connect(&url).await?)
}

pub(crate) async fn migrate(relay: &Path, url: &str) -> Result<(), Failure> {
    let mut migrate = Process::start(&relay.to_owned(), ["migrate"], &[("DATABASE_URL", url)])?;
    match migrate.ended().await? {
        status if status.success() => Ok(()),
        status => Err(format!("relay migrate: {status}").into()),
    }
}

/// Repeats an operation until it succeeds, because the database may be down.
pub(crate) async fn insist<T, F: Future<Output = Result<T, Failure>>>(
    mut what: impl FnMut() -> F,
) -> Result<T, Failure> {
    let until = tokio::time::Instant::now() + INSISTS_FOR;
    loop {
        match what().await {
            Err(_) if tokio::time::Instant::now() < until => tokio::time::sleep(INSISTS_EVERY).await,
            done => return done,
        }
    }
}
