//! The start of a term: checks the history of the cursor, and the sequences.
//!
//! A cursor refers to transaction ids. After a dump, logical replication or a reset of a server's ids, the ids of a cursor mean
//! something else. Then the relay re-seeds: it goes on by seq.

use crate::{Listening, within};
use outbox_runtime::Part;
use sqlx::{Connection, PgConnection, PgTransaction};

use super::advance::take_over;
use super::appetite::Appetite;
use super::{Cursor, Outbox, Page};
use crate::bus::PostgresBus;
use crate::from_row::from_row;

impl<'a> Outbox<'a> {
    /// Reads the cursor from its table, because memory may be ahead of the database after a crash or failover. From here on the
    /// previous leader can write nothing.
    pub async fn open(
        session: Listening,
        relay: &str,
        appetite: &'a mut Appetite,
        routes: Option<&'a PostgresBus>,
        source: &str,
        part: &Part,
    ) -> Result<(Self, Cursor), OpenError> {
        let mut lent = session.lend().await?;
        let conn = lent.conn().await?;
        let subscription: Option<String> =
            within(sqlx::query_scalar(SUBSCRIPTION).fetch_optional(&mut *conn)).await?;
        if let Some(subscription) = subscription {
            return Err(OpenError::Subscribed { subscription });
        }
        mend_sequences(conn, source).await?;
        let mut tx = conn.begin().await?;
        // Waits for the previous leader's write, which takes milliseconds, or as long as its session is frozen.
        sqlx::query("set local lock_timeout = '5s'").execute(&mut *tx).await?;
        sqlx::query("lock table outbox.cursor in share row exclusive mode").execute(&mut *tx).await?;
        sqlx::query("set local lock_timeout = 0").execute(&mut *tx).await?;
        let saved = sqlx::query_as(SAVED).fetch_optional(&mut *tx).await?;
        let saved: Saved = saved.ok_or(OpenError::NoCursor)?;
        let system_identifier = saved.here;
        let cursor = match saved.history() {
            History::Same => saved.cursor(),
            History::Upgraded => {
                tracing::info!(source, "the server was upgraded in place: its transaction ids go on");
                saved.cursor()
            }
            History::Other => reseed(&mut tx, &saved, source, part).await?,
        };
        let cursor_id = take_over(&mut tx, &cursor, system_identifier, relay).await?;
        tx.commit().await?;
        lent.give_back();
        let seen_seq = cursor.floor_seq;
        Ok((
            Self {
                session,
                relay: relay.to_owned(),
                appetite,
                routes,
                system_identifier,
                cursor_id,
                seen_seq,
            },
            cursor,
        ))
    }
}

/// An active subscription brings rows whose transaction ids are another server's. No cursor could tell which of them are new.
const SUBSCRIPTION: &str = "select quote_ident(s.subname) from pg_subscription as s
     join pg_subscription_rel as r on r.srsubid = s.oid
     join pg_class as c on c.oid = r.srrelid
     join pg_namespace as n on n.oid = c.relnamespace
     where s.subenabled and s.subdbid = (select oid from pg_database where datname = current_database()) and n.nspname = 'outbox'
     limit 1";

/// `earlier_ours` is about the row before. One row may have its own xid by chance, but not two.
const SAVED: &str = "select c.snapshot, c.page_snapshot, c.page_seq, c.page_end_seq, c.last_seq, c.floor_seq, c.system_identifier as saved_on,
            s.system_identifier as here, c.ours, c.written_by::text as written_by,
            coalesce((select e.xmin::text::bigint = e.xid::text::bigint % 4294967296
                      from outbox.cursor as e where e.id < c.id order by e.id desc limit 1), true) as earlier_ours
     from outbox.newest_cursor as c, pg_control_system() as s";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Saved {
    snapshot: String,
    page_snapshot: Option<String>,
    page_seq: Option<i64>,
    page_end_seq: Option<i64>,
    last_seq: i64,
    floor_seq: i64,
    saved_on: i64,
    here: i64,
    ours: bool,
    /// The transaction that wrote the row here.
    written_by: String,
    earlier_ours: bool,
}

from_row!(Saved {
    snapshot,
    page_snapshot,
    page_seq,
    page_end_seq,
    last_seq,
    floor_seq,
    saved_on,
    here,
    ours,
    written_by,
    earlier_ours
});

/// The history of transaction ids to which a saved cursor belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    Same,
    /// This history, on a server with a new identifier: pg_upgrade.
    Upgraded,
    Other,
}

impl Saved {
    fn history(&self) -> History {
        match (self.ours, self.saved_on == self.here) {
            (true, true) => History::Same,
            (true, false) if self.earlier_ours => History::Upgraded,
            _ => History::Other,
        }
    }

    fn cursor(&self) -> Cursor {
        let page = self.page_snapshot.clone().zip(self.page_seq).map(|(snapshot, seq)| Page {
            snapshot,
            seq,
            end_seq: self.page_end_seq.unwrap_or(i64::MAX),
            floor_seq: self.floor_seq,
        });
        Cursor { snapshot: self.snapshot.clone(), page, last_seq: self.last_seq, floor_seq: self.floor_seq }
    }
}

/// Advances sequences that are behind their tables.
async fn mend_sequences(conn: &mut PgConnection, source: &str) -> Result<(), sqlx::Error> {
    let mended: Vec<(String, i64, i64)> =
        sqlx::query_as("select name, stands_at, used from outbox.check_sequences(true)")
            .fetch_all(conn)
            .await?;
    for (sequence, stands_at, used) in &mended {
        tracing::warn!(
            source,
            sequence,
            stands_at,
            used,
            "the sequence was behind its table, as after logical replication or a restore of data alone: set it right"
        );
    }
    Ok(())
}

/// Whether an event had been put, by the saved cursor. It is not null, even if the cursor has no page.
macro_rules! put {
    () => {
        "(e.seq <= $4 and (pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
             or coalesce(e.seq <= $3 and pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot), false))
          and not ((e.xmin::text::bigint - e.xid::text::bigint) & 4294967295 < 1000000 and e.xid > $5::text::xid8))"
    };
}

/// The xid of a row of another history says nothing here. The old cursor's snapshot shows whether the row had been put. A row
/// above `last_seq` was never put. Nor was a row that was written here after the cursor came: its xid is after the cursor's.
/// Its xmin is the same or, in a savepoint, a little higher. (Its seq may be any, if the sequence was not carried along.)
///
/// A row that was not put gets the xid of this transaction, which the new cursor has not seen. A row that was put needs an xid
/// that the new cursor has seen: it keeps its own if that is one.
async fn reseed(
    tx: &mut PgTransaction<'_>,
    saved: &Saved,
    source: &str,
    part: &Part,
) -> Result<Cursor, sqlx::Error> {
    // Taken before this transaction has an xid, because its own must not count as seen.
    let snapshot: String =
        sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut **tx).await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from outbox.event").fetch_one(&mut **tx).await?;
    let (saved_on, here, last_seq) = (saved.saved_on, saved.here, saved.last_seq);
    tracing::warn!(
        source,
        saved_on,
        here,
        last_seq,
        rows,
        "this outbox comes from another server, where transaction ids mean something else: re-seeding the cursor by seq"
    );
    part.waits(format!("re-seeding the cursor: looking at {rows} events"));
    // The table is read once, as a whole.
    sqlx::query("set local enable_seqscan = on").execute(&mut **tx).await?;
    // Late rows get new seqs, in their order and above all events that were put.
    sqlx::query(
        "update outbox.event as e set seq = fresh.seq
         from (select late.slot, late.seq as was, late.id, nextval('outbox.event_seq') as seq
               from (select * from outbox.event as e
                     where (e.xmin::text::bigint - e.xid::text::bigint) & 4294967295 < 1000000 and e.xid > $1::text::xid8 and e.seq <= $2
                     order by e.seq) as late) as fresh
         where e.slot = fresh.slot and e.seq = fresh.was and e.id = fresh.id
           and (e.xmin::text::bigint - e.xid::text::bigint) & 4294967295 < 1000000 and e.xid > $1::text::xid8",
    )
    .bind(&saved.written_by)
    .bind(last_seq)
    .execute(&mut **tx)
    .await?;
    let rewritten = sqlx::query(concat!(
        "update outbox.event as e set xid = case when ",
        put!(),
        " then '3'::xid8 else pg_current_xact_id() end
         where not (",
        put!(),
        " and pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot))"
    ))
    .bind(&saved.snapshot)
    .bind(&saved.page_snapshot)
    .bind(saved.page_seq)
    .bind(last_seq)
    .bind(&saved.written_by)
    .bind(&snapshot)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    tracing::info!(source, rows, rewritten, "re-seeded");
    Ok(Cursor { snapshot, page: None, last_seq, floor_seq: 0 })
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database can't be used")]
    Database(#[from] sqlx::Error),
    #[error(
        "the subscription {subscription} still fills the tables of outbox from another server: disable or drop it, then this relay leads (alter subscription {subscription} disable)"
    )]
    Subscribed { subscription: String },
    #[error("outbox.cursor is empty: restore it from a backup, or drop the schema and run `relay migrate`")]
    NoCursor,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 2: a cursor is trusted only if its row proves that this history of transaction ids wrote it.
    #[test]
    fn a_cursor_is_believed_by_its_own_row() {
        let saved = |ours, same, earlier_ours| Saved {
            snapshot: "10:10:".into(),
            page_snapshot: None,
            page_seq: None,
            page_end_seq: None,
            last_seq: 5,
            floor_seq: 4,
            saved_on: 1,
            here: if same { 1 } else { 2 },
            ours,
            written_by: "9".into(),
            earlier_ours,
        };
        let cases = [
            (true, true, true, History::Same),
            (true, true, false, History::Same), // the row before was of another history, and this one re-seeded
            (true, false, true, History::Upgraded), // pg_upgrade
            (true, false, false, History::Other), // a dump whose copy has its own xid by chance
            (false, true, true, History::Other), // a physical copy that was filled otherwise
            (false, false, false, History::Other), // a dump
        ];
        for (ours, same, earlier, expected) in cases {
            assert_eq!(saved(ours, same, earlier).history(), expected, "{ours} {same} {earlier}");
        }
    }
}
