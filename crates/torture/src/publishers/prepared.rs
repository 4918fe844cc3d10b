//! Two-phase commit: transactions that stay prepared for a while, also over a crash, and then end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::Publisher;
use crate::history::{Clock, Outcome, Silent};
use crate::how::How;
use crate::ledger::Ledger;
use crate::run::Failure;
use crate::work::Work;

/// The number of keys. No other publisher changes these, because a prepared transaction keeps its rows locked.
const KEYS: i64 = 2;
/// An older prepared transaction has no publisher any more.
const ORPHANED_AFTER: &str = "25 seconds";
/// Whether this transaction found the relay awake, and so keeps it awake.
const AWAKE: &str = "
    select exists (select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and classid = 1869968994 and objid = 1)";
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The name of a prepared transaction, which says how to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gid {
    commits: bool,
    events: usize,
    id: Uuid,
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.commits { "commit" } else { "rollback" };
        write!(f, "torture {end} {} {}", self.events, self.id)
    }
}

impl FromStr for Gid {
    type Err = Failure;

    fn from_str(gid: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = gid.split(' ').collect();
        let ["torture", end, events, id] = parts[..] else { return Err(format!("whose is {gid}?").into()) };
        Ok(Self { commits: end == "commit", events: events.parse()?, id: id.parse()? })
    }
}

/// The task that ended a prepared transaction.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    ByThis,
    /// The transaction was absent: an answer was lost before, or it was never prepared.
    NotByThis,
}

impl Publisher {
    pub(super) async fn publish_prepared(&self, random: &mut fastrand::Rng) -> Result<(), Failure> {
        end_orphans(&self.pool, &self.ledger, self.clock, ORPHANED_AFTER).await?;
        let mut work = Work::begin(&self.pool, How::Prepared).await?;
        let filled = async {
            if random.bool() {
                work.change(&format!("prepared-{}", random.i64(0..KEYS)), random.usize(1..4)).await?;
            }
            work.note(false).await?;
            sqlx::query_scalar::<_, bool>(AWAKE).fetch_one(&mut *work.tx).await.map_err(Failure::from)
        };
        let filled = filled.await;
        let Work { mut tx, changes, .. } = work;
        let awake = match filled {
            Ok(awake) => awake,
            Err(error) => {
                self.ledger.tell(&changes, Outcome::RolledBack);
                return Err(error);
            }
        };
        let gid = Gid { commits: random.u8(0..3) > 0, events: changes.len(), id: Uuid::now_v7() };
        let prepared = prepare(&mut tx, &gid, random).await;
        // The server has no transaction any more; this only corrects the client's count.
        let _ = tx.commit().await;
        if let Err(error) = &prepared
            && is_refusal(error)
        {
            self.ledger.complain("not_prepared", format!("PREPARE TRANSACTION failed: {error}"));
            self.ledger.tell(&changes, Outcome::RolledBack);
            return Err(error.to_string().into());
        }
        let longest = if *self.lull.borrow() { 2000 } else { 12_000 };
        self.ledger.prepared(awake);
        self.rest(Duration::from_millis(random.u64(300..longest))).await;
        let ended = end(&self.pool, &self.ledger, self.clock, &gid).await;
        let outcome = match (gid.commits, prepared.is_ok() && ended == Ended::ByThis) {
            (false, _) => Outcome::RolledBack,
            (true, true) => Outcome::Committed,
            (true, false) => Outcome::Unknown,
        };
        self.ledger.tell(&changes, outcome);
        Ok(prepared?)
    }
}

/// In any spelling.
async fn prepare(conn: &mut PgConnection, gid: &Gid, random: &mut fastrand::Rng) -> Result<(), sqlx::Error> {
    let plain = format!("prepare transaction '{gid}'");
    let text = match random.u8(0..4) {
        0 => return sqlx::query(AssertSqlSafe(plain)).execute(conn).await.map(|_| ()),
        1 => format!("PREPARE TRANSACTION '{gid}'"),
        2 => format!("/* two phases */\n  {plain};"),
        _ => format!("select 1; {plain}"),
    };
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await.map(|_| ())
}

/// Whether the server refused the transaction for its statements, and not because the session ended or timed out.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    // Exceptions: operator intervention, timeouts of idle transactions, and connection errors.
    code.is_some_and(|code| !["57", "25", "08"].iter().any(|class| code.starts_with(class)))
}

/// Ends it as its name says, even if the database is away for long.
async fn end(pool: &PgPool, ledger: &Ledger, clock: Clock, gid: &Gid) -> Ended {
    let verb = if gid.commits { "commit" } else { "rollback" };
    let from = clock.now();
    loop {
        let text = AssertSqlSafe(format!("{verb} prepared '{gid}'"));
        let ended = match sqlx::query(text).execute(pool).await {
            Ok(_) => Ended::ByThis,
            Err(error) if is_undefined(&error) => Ended::NotByThis,
            Err(_) => {
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        if gid.commits {
            ledger.committed_silently(Silent { from, to: clock.now(), events: gid.events });
        }
        return ended;
    }
}

fn is_undefined(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42704"))
}

/// Ends old transactions whose publisher got no answer.
pub(crate) async fn end_orphans(
    pool: &PgPool,
    ledger: &Ledger,
    clock: Clock,
    age: &str,
) -> Result<(), Failure> {
    let gids: Vec<String> = sqlx::query_scalar(
        "select gid from pg_prepared_xacts where gid like 'torture %' and prepared < clock_timestamp() - $1::text::interval",
    )
    .bind(age)
    .fetch_all(pool)
    .await?;
    for gid in gids {
        end(pool, ledger, clock, &gid.parse()?).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an orphan ends as its publisher wanted.
    #[test]
    fn a_name_says_how_it_ends() {
        for commits in [true, false] {
            let gid = Gid { commits, events: 3, id: Uuid::now_v7() };
            assert_eq!(gid.to_string().parse::<Gid>().unwrap(), gid);
        }
        assert!("another".parse::<Gid>().is_err());
    }
}
