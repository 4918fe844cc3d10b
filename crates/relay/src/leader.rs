//! One relay per database does the work; the others stand by.
//!
//! The lead is a session advisory lock, so a relay that dies loses it at once. One that hangs keeps it: a standby
//! that sees the heartbeat stand still ends the hanging leader's sessions. The cursor is written through the session
//! that holds the lock, so nothing the old leader does later can land.

use std::time::{Duration, Instant};

use outbox_schema::{Source, within};
use runtime::Chain;
use sqlx::PgConnection;

const BEAT_EVERY: Duration = Duration::from_secs(2);
const HANGS_AFTER: Duration = Duration::from_secs(10);

pub(crate) async fn try_lead(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    within(sqlx::query_scalar("select pg_try_advisory_lock(1869968994, 2)").fetch_one(conn)).await
}

/// Shows the standbys that this leader lives, until it is aborted. On a connection of its own: a statement that takes
/// long, as a re-seed may, is no sign of hanging. A process that is stopped, or cut off, can't beat.
pub(crate) async fn beat(source: Source) {
    loop {
        let beating = async {
            let mut conn = source.connect("outbox relay (heartbeat)", &[]).await?;
            loop {
                within(sqlx::query("select nextval('outbox.heartbeat')").execute(&mut conn)).await?;
                tokio::time::sleep(BEAT_EVERY).await;
            }
        };
        let ended: Result<(), sqlx::Error> = beating.await;
        if let Err(error) = ended {
            tracing::debug!(source = source.name(), error = %Chain(&error), "heartbeat interrupted");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a standby knows of the leader's heartbeat.
#[derive(Debug)]
pub(crate) struct Watch {
    beat: i64,
    since: Instant,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { beat: -1, since: now }
    }

    /// Looks at the leader; ends its sessions if it hangs. Returns how many sessions that were.
    pub(crate) async fn look(&mut self, conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
        let beat =
            within(sqlx::query_scalar("select last_value from outbox.heartbeat").fetch_one(&mut *conn))
                .await?;
        if !self.hangs(beat, Instant::now()) {
            return Ok(0);
        }
        self.since = Instant::now();
        // Both of its sessions: the one that leads, and the one that keeps the doorbell while it sleeps.
        let ended = within(
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_locks
                 where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
                   and classid = 1869968994 and objid in (1, 2) and objsubid = 2
                   and mode = 'ExclusiveLock' and granted and pid <> pg_backend_pid()",
            )
            .fetch_all(conn),
        )
        .await?;
        Ok(ended.len())
    }

    fn hangs(&mut self, beat: i64, now: Instant) -> bool {
        if beat != self.beat {
            *self = Self { beat, since: now };
        }
        now.duration_since(self.since) >= HANGS_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a leader is taken for hanging only after its heartbeat stood still for the whole time.
    #[test]
    fn a_beat_resets_the_watch() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut watch = Watch::new(start);
        assert!(!watch.hangs(7, at(0)));
        assert!(!watch.hangs(7, at(9)));
        assert!(!watch.hangs(8, at(10)));
        assert!(!watch.hangs(8, at(19)));
        assert!(watch.hangs(8, at(20)));
    }
}
