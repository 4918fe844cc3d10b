//! When an event was put, by the log of cursors.

use outbox_transport::operate::{At, OperateError};
use sqlx::query_as;

use super::{Outbox, Stored};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Putting {
    Put(Put),
    NotYet,
    NotKnown(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub at: At,
    pub relay: String,
    /// Or earlier, because older cursors are gone.
    pub or_before: bool,
}

const FOREIGN: &str = "the cursor is of another server, and no relay has led here since";
const COPIED: &str = "the event was copied from another server after the relay's last look, and no relay sees it until it re-seeds";

impl Outbox {
    /// The first cursor of this server that covers an event: another server's transaction ids say nothing here. A cursor says
    /// nothing of a row that came after it, whatever xid the row has.
    pub async fn put(&self, event: &Stored) -> Result<Putting, OperateError> {
        let covering: Option<(At, String, bool)> = self
            .database
            .one(
                query_as(
                    "select c.at, c.relay, c.id = (select min(n.id) from outbox.cursor as n where n.id > theirs.id)
                     from (select coalesce(max(f.id), 0) as id from outbox.cursor as f
                           where f.xmin::text::bigint <> f.xid::text::bigint % 4294967296) as theirs,
                          outbox.cursor as c
                     where c.id > theirs.id
                       and (pg_visible_in_snapshot($1::text::xid8, c.snapshot::pg_snapshot)
                            and ($3::text::xid8 = c.xid or pg_visible_in_snapshot($3::text::xid8, c.snapshot::pg_snapshot))
                         or c.page_seq >= $2 and pg_visible_in_snapshot($1::text::xid8, c.page_snapshot::pg_snapshot)
                            and ($3::text::xid8 = c.xid or pg_visible_in_snapshot($3::text::xid8, c.page_snapshot::pg_snapshot)))
                     order by c.id limit 1",
                )
                .bind(&event.xid)
                .bind(event.seq)
                .bind(&event.came),
            )
            .await?;
        let newest: Option<(bool, bool)> = self
            .database
            .one(
                query_as(
                    "select ours, pg_visible_in_snapshot($1::text::xid8, snapshot::pg_snapshot)
                         or coalesce(page_seq >= $2 and pg_visible_in_snapshot($1::text::xid8, page_snapshot::pg_snapshot), false)
                     from outbox.newest_cursor",
                )
                .bind(&event.xid)
                .bind(event.seq),
            )
            .await?;
        Ok(match (newest, covering) {
            (Some((false, _)), _) => Putting::NotKnown(FOREIGN),
            (_, Some((at, relay, or_before))) => Putting::Put(Put { at, relay, or_before }),
            (Some((true, true)), None) => Putting::NotKnown(COPIED),
            (_, None) => Putting::NotYet,
        })
    }
}
