//! Writes for an advance of the cursor.

use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::row::flaws;
use super::{Cursor, Outbox, Parked};
use crate::bus::Deliveries;

/// The statement, with these parts after the first one.
macro_rules! append {
    ($($parts:tt)*) => {
        concat!(
            "with ours as materialized (
                 select from (select c.id from outbox.cursor as c order by c.id desc limit 1) as newest where newest.id = $1
             ), ",
            $($parts)*
            "delivered as (
                 insert into outbox.delivery (queue, event_id, body, slot)
                 select ($6::integer[])[e.n], e.id, '{\"rpc\":\"' || ($7::text[])[e.n] || '\",\"event\":' || e.envelope || '}',
                        (select last_value from outbox.delivery_slot)
                 from (
                     select e.id, e.envelope, generate_series(e.first, e.last) as n
                     from ours, unnest($2::uuid[], $3::text[], $4::integer[], $5::integer[]) as e (id, envelope, first, last)) as e
             ), woken as (
                 select count(pg_notify('outbox_delivery', q::text)) from ours, unnest($8::integer[]) as q
             )
             insert into outbox.cursor (snapshot, page_snapshot, page_seq, page_end_seq, last_seq, floor_seq, system_identifier, relay, slot)
             select $9, $10, $11, $12, $13, $14, $15, $16, (select last_value from outbox.cursor_slot) from ours, woken
             returning id",
        )
    };
}

/// Copies of parked events.
macro_rules! parked {
    () => {
        concat!(
            "parked as (
                 insert into outbox.parked (seq, id, name, key, payload, headers, occurred_at, code, reason, cut)
                 select e.seq, e.id, left(e.name, chars), left(e.key, chars), left(e.payload, chars), left(e.headers, chars),
                        e.occurred_at, p.code, p.reason, oversize is not null
                 from ours, unnest($17::bigint[], $18::uuid[], $19::text[], $20::text[]) as p (seq, id, code, reason)
                 cross join lateral (select * from outbox.event as e where e.seq = p.seq and e.id = p.id limit 1) as e ",
            flaws!(),
            "    cross join lateral (select case when oversize is null then 245760 else 1024 end as chars) as kept
                 on conflict (seq, id) do nothing
             ), ",
        )
    };
}

impl Outbox<'_> {
    /// Writes the cursor, the parked events and the deliveries in one statement: a transaction that a client holds open would
    /// block the next leader. It writes nothing if the newest cursor is not the one that this relay wrote.
    ///
    /// A parked row is copied as it was written. If one of its texts is over its limit, each text is cut to 1,024 characters.
    /// Such a row may have a gigabyte, and all events would wait for its copy.
    ///
    /// The database builds the bodies: the relay would send and hold one for each subscriber. Each queue gets one notification.
    /// This commit is asynchronous, so the lock of the notification is held for microseconds and not during a flush.
    pub(super) async fn append(
        &mut self,
        cursor: &Cursor,
        deliveries: &Deliveries,
        parked: &[Parked<'_>],
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut lent = self.session.lend().await?;
        // Starting a statement opens every slot that it names, also in vain.
        let text = if parked.is_empty() { append!() } else { append!(parked!(),) };
        let append = sqlx::query_scalar(text)
            .bind(self.cursor_id)
            .bind(&deliveries.events)
            .bind(&deliveries.envelopes)
            .bind(&deliveries.first)
            .bind(&deliveries.last)
            .bind(&deliveries.queues)
            .bind(&deliveries.rpcs)
            .bind(deliveries.woken());
        let mut append = bind(append, cursor, self.system_identifier, &self.relay);
        if !parked.is_empty() {
            append = append
                .bind(parked.iter().map(|parked| parked.entry.seq).collect::<Vec<_>>())
                .bind(parked.iter().map(|parked| parked.entry.id.as_uuid()).collect::<Vec<Uuid>>())
                .bind(parked.iter().map(|parked| parked.code).collect::<Vec<_>>())
                .bind(parked.iter().map(|parked| parked.reason).collect::<Vec<_>>());
        }
        let appended = append.fetch_optional(lent.conn().await?).await?;
        lent.give_back();
        Ok(appended)
    }
}

/// The first row of a term. It records where the relay goes on, and keeps the previous leader from writing.
pub(super) async fn take_over(
    conn: &mut PgConnection,
    cursor: &Cursor,
    system_identifier: i64,
    relay: &str,
) -> Result<i64, sqlx::Error> {
    let first = sqlx::query_scalar(
        "insert into outbox.cursor (snapshot, page_snapshot, page_seq, page_end_seq, last_seq, floor_seq, system_identifier, relay, slot)
         select $1, $2, $3, $4, $5, $6, $7, $8, last_value from outbox.cursor_slot
         returning id",
    );
    bind(first, cursor, system_identifier, relay).fetch_one(conn).await
}

/// The values of a row of `outbox.cursor`, in the order of the two statements.
fn bind<'q>(
    insert: QueryScalar<'q, Postgres, i64, PgArguments>,
    cursor: &'q Cursor,
    system_identifier: i64,
    relay: &'q str,
) -> QueryScalar<'q, Postgres, i64, PgArguments> {
    let page = cursor.page.as_ref();
    insert
        .bind(&cursor.snapshot)
        .bind(page.map(|page| &page.snapshot))
        .bind(page.map(|page| page.seq))
        .bind(page.map(|page| page.end_seq))
        .bind(cursor.last_seq)
        .bind(cursor.floor_seq)
        .bind(system_identifier)
        .bind(relay)
}
