//! One transaction of a publisher: the domain's rows and the events that go with them.

use outbox::{Entry, Event, EventId};
use serde::Serialize;
use sqlx::{PgConnection, PgTransaction};
use uuid::Uuid;

use super::super::Failure;
use super::super::history::Change;
use super::super::routes::{CHANGED, GARBLED, NOTED, OFFERED};
use super::How;

const LARGE_BYTES: usize = 100_000;

#[derive(Serialize)]
struct Changed<'a> {
    key: &'a str,
    n: i64,
}

#[derive(Serialize)]
struct Noted {
    n: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
}

#[derive(Serialize)]
struct Offered {
    refuse: bool,
}

impl Event for Changed<'_> {
    const NAME: &'static str = CHANGED;
}

impl Event for Noted {
    const NAME: &'static str = NOTED;
}

impl Event for Offered {
    const NAME: &'static str = OFFERED;
}

/// One transaction and what it is about to commit.
pub(super) struct Work<'c> {
    pub(super) tx: PgTransaction<'c>,
    pub(super) changes: Vec<Change>,
    pub(super) how: How,
}

impl Work<'_> {
    /// Changes a key so many times: its row's lock comes first, and keeps its events in order.
    pub(super) async fn change(&mut self, key: &str, times: usize) -> Result<(), Failure> {
        let times = i64::try_from(times)?;
        let last: i64 = sqlx::query_scalar(
            "insert into torture.key as k (key, n) values ($1, $2) on conflict (key) do update set n = k.n + $2 returning n",
        )
        .bind(key)
        .bind(times)
        .fetch_one(&mut *self.tx)
        .await?;
        let entries = (last - times + 1..=last).map(|n| (Entry::new(Changed { key, n }).key(key), n));
        let (entries, counts): (Vec<_>, Vec<_>) = entries.unzip();
        let ids: Vec<EventId> = entries.iter().map(Entry::id).collect();
        for (event, n) in ids.into_iter().zip(counts) {
            self.write(event, CHANGED, Some(key), n, false);
        }
        if times == 1 {
            for entry in entries {
                entry.enqueue(&mut self.tx).await?;
            }
        } else {
            outbox::enqueue_all(&mut self.tx, entries).await?;
        }
        self.save().await
    }

    pub(super) async fn note(&mut self, large: bool) -> Result<(), Failure> {
        let text = if large { "x".repeat(LARGE_BYTES) } else { String::new() };
        let entry = Entry::new(Noted { n: 0, text });
        self.write(entry.id(), NOTED, None, 0, false);
        entry.enqueue(&mut self.tx).await?;
        self.save().await
    }

    pub(super) async fn notes(&mut self, many: usize) -> Result<(), Failure> {
        let entries: Vec<Entry> = (0..i64::try_from(many)?)
            .map(|n| {
                let entry = Entry::new(Noted { n, text: String::new() });
                self.write(entry.id(), NOTED, None, n, false);
                entry
            })
            .collect();
        outbox::enqueue_all(&mut self.tx, entries).await?;
        self.save().await
    }

    pub(super) async fn offer(&mut self, refuse: bool) -> Result<(), Failure> {
        let entry = Entry::new(Offered { refuse });
        self.write(entry.id(), OFFERED, None, 0, refuse);
        entry.enqueue(&mut self.tx).await?;
        self.save().await
    }

    pub(super) async fn enqueue_by_sql(&mut self) -> Result<(), Failure> {
        let id: Uuid = sqlx::query_scalar("select outbox.enqueue($1, '{\"n\":\"1\"}')")
            .bind(NOTED)
            .fetch_one(&mut *self.tx)
            .await?;
        self.write(id.into(), NOTED, None, 1, false);
        self.save().await
    }

    /// Past `outbox.enqueue`, which would not take it.
    pub(super) async fn garble(&mut self) -> Result<(), Failure> {
        let event = EventId::new();
        self.write(event, GARBLED, None, 0, false);
        sqlx::query(
            "insert into outbox.event (id, name, payload, headers, slot)
             values ($1, $2, '{}', 'these are no headers', (select last_value from outbox.event_slot))",
        )
        .bind(event.as_uuid())
        .bind(GARBLED)
        .execute(&mut *self.tx)
        .await?;
        sqlx::query("select outbox.ring()").execute(&mut *self.tx).await?;
        self.save().await
    }

    fn write(&mut self, event: EventId, name: &str, key: Option<&str>, n: i64, refuse: bool) {
        let how = format!("{:?}", self.how);
        self.changes.push(Change { event, name: name.into(), key: key.map(Into::into), n, refuse, how });
    }

    /// The domain's rows of what was enqueued since.
    async fn save(&mut self) -> Result<(), Failure> {
        save(&mut self.tx, &self.changes).await
    }
}

async fn save(conn: &mut PgConnection, changes: &[Change]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = changes.iter().map(|change| change.event.as_uuid()).collect();
    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let keys: Vec<Option<&str>> = changes.iter().map(|change| change.key.as_deref()).collect();
    let counts: Vec<i64> = changes.iter().map(|change| change.n).collect();
    let refuse: Vec<bool> = changes.iter().map(|change| change.refuse).collect();
    let how: Vec<&str> = changes.iter().map(|change| change.how.as_str()).collect();
    sqlx::query(
        "insert into torture.change
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::text[])
         on conflict do nothing",
    )
    .bind(ids)
    .bind(names)
    .bind(keys)
    .bind(counts)
    .bind(refuse)
    .bind(how)
    .execute(conn)
    .await?;
    Ok(())
}
