//! One relay per database does the work; the others stand by.
//!
//! A row of `outbox.leader` names the leader, and only the role of a relay may change it. A standby takes the lead if the
//! leader's session is gone or its heartbeat stands still. It need not end the old leader's session. The cursor advances only
//! from its newest row, and a new leader appends one first, so the old leader can write nothing later.

use std::time::{Duration, Instant};

use crate::beside::{Beside, Statements};
use crate::from_row::from_row;
use crate::within;
use outbox_runtime::Chain;
use sqlx::PgConnection;

/// For the leader's session. Every role sees its row in `pg_stat_activity`.
pub const APPLICATION: &str = "outbox relay (leader)";

const BEAT_EVERY: Duration = Duration::from_secs(2);
const BEAT_WITHIN: Duration = Duration::from_secs(10);
const HANGS_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub term: i64,
    pub relay: String,
    pub pid: Option<i32>,
    pub lives: bool,
    beat: i64,
}

from_row!(Seen { term, relay, pid, lives, beat });

pub async fn look(conn: &mut PgConnection) -> Result<Seen, sqlx::Error> {
    let look = sqlx::query_as(
        "select l.term, l.relay, l.pid,
                exists (select from pg_stat_activity as a
                        where a.pid = l.pid and a.datname = current_database() and a.application_name = $1) as lives,
                h.last_value as beat
         from outbox.leader as l, outbox.heartbeat as h",
    );
    within(look.bind(APPLICATION).fetch_one(conn)).await
}

/// Takes over from the leader that was seen. Returns the new term, or `None` if another relay was faster.
pub async fn take(conn: &mut PgConnection, relay: &str, seen: &Seen) -> Result<Option<i64>, sqlx::Error> {
    let take = sqlx::query_scalar(
        "update outbox.leader set term = term + 1, relay = $1, pid = pg_backend_pid(), since = clock_timestamp()
         where term = $2 and (pid is not distinct from $3)
         returning term",
    );
    within(take.bind(relay).bind(seen.term).bind(seen.pid).fetch_optional(conn)).await
}

/// Lets a standby lead at once. It has no effect if another relay leads by now.
pub async fn step_down(conn: &mut PgConnection, term: i64) -> Result<(), sqlx::Error> {
    let step_down = sqlx::query("update outbox.leader set pid = null where term = $1");
    within(step_down.bind(term).execute(conn)).await.map(|_| ())
}

/// Ends the sessions of a leader that hangs or has given up, and returns their number: the one that leads, and one with the
/// doorbell's lock. (Of an older version that was another session.) A session of another role can't be ended, which only costs
/// polls and notifications.
pub async fn end_sessions(conn: &mut PgConnection, hanging: &Seen) -> Result<usize, sqlx::Error> {
    let pids: Vec<i32> = within(
        sqlx::query_scalar(
            "select a.pid from pg_stat_activity as a
             where a.datname = current_database() and a.pid <> pg_backend_pid()
               and (a.pid = $1 and a.application_name = $2
                    or a.application_name in ($2, 'outbox relay (doorbell)') and exists (
                        select from pg_locks as l
                        where l.pid = a.pid and l.locktype = 'advisory' and l.classid = 1869968994 and l.objid = 1
                          and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted))",
        )
        .bind(hanging.pid)
        .bind(APPLICATION)
        .fetch_all(&mut *conn),
    )
    .await?;
    let mut ended = 0;
    for pid in pids {
        let end = sqlx::query_scalar("select pg_terminate_backend($1)").bind(pid);
        match within(end.fetch_one(&mut *conn)).await {
            Ok(true) => ended += 1,
            Ok(false) => {}
            Err(error @ sqlx::Error::Database(_)) => {
                tracing::warn!(pid, error = %Chain(&error), "can't end a session of the relay that hangs: leading without that");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// Moves the heartbeat until another relay leads. A process that is stopped or cut off can't move it. A long statement such as
/// a re-seed is not a hang: then it is moved over another connection.
pub async fn beat(source: String, beside: Beside, term: i64) {
    loop {
        match beside.run(BEAT_WITHIN, &Beat(term)).await {
            Ok(Some(_)) => tokio::time::sleep(BEAT_EVERY).await,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(source, error = %Chain(&error), "heartbeat interrupted");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

struct Beat(i64);

impl Statements for Beat {
    type Answer = Option<i64>;

    async fn run(&self, conn: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
        let beat =
            sqlx::query_scalar("select nextval('outbox.heartbeat') from outbox.leader where term = $1");
        beat.bind(self.0).fetch_optional(conn).await
    }
}

/// What a standby concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Another relay leads.
    Theirs,
    /// No relay leads: the leader's session is gone, or it stepped down.
    Vacant,
    /// The leader's session exists, but its heartbeat stood still for too long.
    Hanging,
}

/// The leader's heartbeat by the standby's own clock, because the server's may be set meanwhile.
#[derive(Debug)]
pub struct Watch {
    beat: (i64, i64),
    since: Instant,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self { beat: (-1, -1), since: now }
    }

    pub fn judge(&mut self, seen: &Seen, now: Instant) -> Lead {
        let beat = (seen.term, seen.beat);
        if beat != self.beat {
            *self = Self { beat, since: now };
        }
        if seen.pid.is_none() || !seen.lives {
            Lead::Vacant
        } else if now.duration_since(self.since) >= HANGS_AFTER {
            Lead::Hanging
        } else {
            Lead::Theirs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a leader without a session is replaced at once. One with a session is replaced once its heartbeat stood still
    /// for the whole time.
    #[test]
    fn a_beat_resets_the_watch() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let seen = |beat, pid, lives| Seen { term: 3, relay: "a".into(), pid, lives, beat };
        let mut watch = Watch::new(start);
        assert_eq!(watch.judge(&seen(7, Some(1), true), at(0)), Lead::Theirs);
        assert_eq!(watch.judge(&seen(7, Some(1), true), at(9)), Lead::Theirs);
        assert_eq!(watch.judge(&seen(8, Some(1), true), at(10)), Lead::Theirs);
        assert_eq!(watch.judge(&seen(8, Some(1), true), at(19)), Lead::Theirs);
        assert_eq!(watch.judge(&seen(8, Some(1), true), at(20)), Lead::Hanging);
        assert_eq!(watch.judge(&seen(8, Some(1), false), at(20)), Lead::Vacant);
        assert_eq!(watch.judge(&seen(8, None, false), at(20)), Lead::Vacant);
        assert_eq!(
            watch.judge(&Seen { term: 4, ..seen(8, Some(2), true) }, at(21)),
            Lead::Theirs,
            "a new leader"
        );
    }
}
