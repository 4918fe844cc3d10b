//! A throwaway server with production's durability: every commit is flushed.

use std::time::Duration;

use outbox_postgres::Source;
use sqlx::{Connection, PgConnection};
use testkit::cluster::Cluster;
use testkit::database;

use crate::result::Result;

pub(crate) const EVENT: &str = "event_bench";
/// The size of an event's payload.
pub(crate) const PAYLOAD_BYTES: usize = 500;
pub(crate) const ACCOUNTS: i32 = 10_000;

/// Removes every event and every delivery.
pub(crate) const EMPTY: &str = "truncate outbox.event, outbox.delivery, outbox.claim, outbox.retry, outbox.dead_letter, outbox.dedup, outbox.receipt, outbox.parked";

const SETTINGS: [(&str, &str); 3] =
    [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "15min")];

/// One server with one database.
pub(crate) struct Database {
    cluster: Cluster,
    pub(crate) source: Source,
}

impl Database {
    /// With an outbox, and a service's own table.
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::tuned(&SETTINGS)?;
        let url = database::migrated(&cluster.url("postgres"), "bench").await?;
        add_accounts(&url).await?;
        Ok(Self { cluster, source: url.parse()? })
    }

    /// The address of another database on the same server, without an outbox.
    pub(crate) async fn another(&self, name: &str) -> Result<String> {
        let url = database::create(&self.cluster.url("postgres"), name).await?;
        add_accounts(&url).await?;
        Ok(url)
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url("bench")
    }

    pub(crate) fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        Ok(self.source.connect("bench", &[]).await?)
    }

    /// Writes events as a service would, a thousand per transaction, with these names in turn. Then runs a checkpoint, so
    /// that its cost does not fall into the measurement.
    pub(crate) async fn fill(&self, events: usize, names: &[String]) -> Result<()> {
        let mut conn = self.connect().await?;
        let fill = "select outbox.enqueue_all(
                        array_agg(($2::text[])[1 + n % cardinality($2::text[])]), array_agg($3::text),
                        array_agg(null::text), array_agg(null::text), array_agg(outbox.uuid_v7()))
                    from generate_series(1, $1::integer) as n";
        let payload = payload(0);
        // This data need not survive a crash.
        sqlx::query("set synchronous_commit = off").execute(&mut conn).await?;
        let mut left = events;
        while left > 0 {
            let part = left.min(1000);
            sqlx::query(fill)
                .bind(i32::try_from(part)?)
                .bind(names)
                .bind(&payload)
                .execute(&mut conn)
                .await?;
            left -= part;
        }
        sqlx::query("checkpoint").execute(&mut conn).await?;
        Ok(())
    }

    /// Removes every event.
    pub(crate) async fn empty(&self) -> Result<()> {
        let mut conn = self.connect().await?;
        sqlx::raw_sql(EMPTY).execute(&mut conn).await?;
        sqlx::query("checkpoint").execute(&mut conn).await?;
        Ok(())
    }

    /// Lets the next relay begin at the first event.
    pub(crate) async fn rewind(&self) -> Result<()> {
        let mut conn = self.connect().await?;
        sqlx::query(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select '1:1:', 0, 0, system_identifier, 'bench', (select last_value from outbox.cursor_slot)
             from pg_control_system()",
        )
        .execute(&mut conn)
        .await?;
        Ok(())
    }
}

/// Creates a service's own table.
async fn add_accounts(url: &str) -> Result<()> {
    let mut conn = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "create table public.account (id integer primary key, balance bigint not null default 0) with (fillfactor = 50);
         insert into public.account (id) select generate_series(1, 10000)",
    )
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// A payload with this number, of the fixed size.
pub(crate) fn payload(n: u64) -> String {
    let mut payload = format!(r#"{{"n":{n},"note":""#);
    while payload.len() < PAYLOAD_BYTES - 2 {
        payload.push('x');
    }
    payload.push_str(r#""}"#);
    payload
}

/// The number in a [`payload`].
pub(crate) fn number(payload: &str) -> Option<u64> {
    payload.strip_prefix(r#"{"n":"#)?.split(',').next()?.parse().ok()
}

/// Waits for a condition, and fails after `within`.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    mut happened: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = tokio::time::Instant::now() + within;
    while !happened().await? {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("{what}: not within {} s", within.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a payload has its number and the fixed size.
    #[test]
    fn payloads_carry_their_number() {
        for n in [0, 7, 123_456_789] {
            assert_eq!(payload(n).len(), PAYLOAD_BYTES);
            assert_eq!(number(&payload(n)), Some(n));
        }
        assert_eq!(number("{}"), None);
    }
}
