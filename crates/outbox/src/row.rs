//! A checked event, and the statements that insert it. Each stack sends these with its own driver.

use outbox_event::EventId;

/// The statement that [`enqueue`](crate::enqueue) sends, with the fields of a [`Row`] in their order: id, name, key, payload
/// and headers. It inserts the row, and wakes the relay if it sleeps. It does not depend on the session's search path.
///
/// It is for a publisher that can't use `enqueue` and must be as fast. The database does not check such a row. The relay
/// parks an invalid one, and no RPC gets it. [`Entry::into_row`](crate::Entry::into_row) makes only valid ones.
// A call of `outbox.enqueue` takes longer than the INSERT itself. A publisher may write only the columns that are named here.
pub const INSERT: &str = "insert into outbox.event (id, name, key, payload, headers)
     select $1, $2, $3, $4, $5
     where pg_catalog.pg_try_advisory_xact_lock_shared(1869968994, 1) or outbox.wake()";

/// The same for many rows, with an array for each column: uuid[] and four of text[]. Arrays of keys and headers may hold nulls.
// The sub-select tries the doorbell's lock once. Not every driver sends the types of parameters, so they are written here.
pub const INSERT_ALL: &str = "insert into outbox.event (id, name, key, payload, headers)
     select e.id, e.name, e.key, e.payload, e.headers
     from unnest($1::pg_catalog.uuid[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.text[],
                 $5::pg_catalog.text[]) with ordinality as e (id, name, key, payload, headers, n)
     where (select pg_catalog.pg_try_advisory_xact_lock_shared(1869968994, 1) or outbox.wake())
     order by e.n";

/// For a driver whose arrays can't hold nulls: two arrays more say which keys and headers there are.
#[cfg(feature = "sea-orm")]
pub(crate) const INSERT_ALL_WITHOUT_NULLS: &str = "insert into outbox.event (id, name, key, payload, headers)
     select e.id, e.name, case when e.has_key then e.key end, e.payload, case when e.has_headers then e.headers end
     from unnest($1::pg_catalog.uuid[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.text[],
                 $5::pg_catalog.text[], $6::pg_catalog.bool[], $7::pg_catalog.bool[]) with ordinality
          as e (id, name, key, payload, headers, has_key, has_headers, n)
     where (select pg_catalog.pg_try_advisory_xact_lock_shared(1869968994, 1) or outbox.wake())
     order by e.n";

/// An event as [`INSERT`] takes it, for a driver that this library does not know. It has passed every check.
///
/// ```no_run
/// # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
/// # struct HogeUpdatedEvent { hoge_id: String }
/// # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
/// # async fn publish(mut tx: sqlx::PgTransaction<'_>, event: HogeUpdatedEvent) -> Result<(), Box<dyn std::error::Error>> {
/// let row = outbox::Entry::new(&event).into_row()?;
/// sqlx::query(outbox::INSERT)
///     .bind(row.id.as_uuid())
///     .bind(row.name)
///     .bind(row.key)
///     .bind(row.payload)
///     .bind(row.headers)
///     .execute(&mut *tx)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// As `uuid`.
    pub id: EventId,
    /// As `text`, like all that follow.
    pub name: &'static str,
    pub key: Option<String>,
    /// A JSON object.
    pub payload: String,
    /// A JSON object of texts.
    pub headers: Option<String>,
}

/// Shows the event's name, id and sizes; never the payload or a header's value.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
