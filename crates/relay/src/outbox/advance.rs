//! What is written when the cursor advances.

use sqlx::PgConnection;

use super::{Cursor, Entry};
use crate::bus::Deliveries;

/// A cursor about to be written.
pub(super) struct Advance<'a> {
    pub(super) cursor: &'a Cursor,
    pub(super) system_identifier: i64,
    pub(super) relay: &'a str,
}

impl Advance<'_> {
    /// The cursor and what lands in the queues of this database, in one statement. One notification per queue: this commit
    /// is asynchronous, so the lock that notify takes is held for microseconds and not across a flush.
    pub(super) async fn append(
        &self,
        conn: &mut PgConnection,
        deliveries: &Deliveries,
    ) -> Result<(), sqlx::Error> {
        let page = self.cursor.page.as_ref();
        sqlx::query(
            "with delivered as (
                 insert into outbox.delivery (queue, event_id, body, slot)
                 select d.queue, d.event_id, d.body, (select last_value from outbox.delivery_slot)
                 from unnest($8::integer[], $9::uuid[], $10::text[]) with ordinality as d (queue, event_id, body, n)
                 order by d.n
             ), woken as (
                 select count(pg_notify('outbox_delivery', q::text)) from unnest($11::integer[]) as q
             )
             insert into outbox.cursor (snapshot, page_snapshot, page_seq, last_seq, floor_seq, system_identifier, relay, slot)
             select $1, $2, $3, $4, $5, $6, $7, (select last_value from outbox.cursor_slot) from woken",
        )
        .bind(&self.cursor.snapshot)
        .bind(page.map(|page| &page.snapshot))
        .bind(page.map(|page| page.seq))
        .bind(self.cursor.last_seq)
        .bind(self.cursor.floor_seq)
        .bind(self.system_identifier)
        .bind(self.relay)
        .bind(&deliveries.queues)
        .bind(&deliveries.events)
        .bind(&deliveries.bodies)
        .bind(deliveries.woken())
        .execute(conn)
        .await?;
        Ok(())
    }
}

pub(super) async fn park(
    conn: &mut PgConnection,
    entry: &Entry,
    code: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into outbox.parked (seq, id, name, key, payload, headers, occurred_at, code, reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
    )
    .bind(entry.seq)
    .bind(entry.id.as_uuid())
    .bind(&entry.name)
    .bind(&entry.key)
    .bind(&entry.payload)
    .bind(&entry.headers)
    .bind(entry.occurred_at)
    .bind(code)
    .bind(reason)
    .execute(conn)
    .await?;
    Ok(())
}
