//! One transaction of a publisher: the domain's rows and the events that go with them.

use outbox::{Entry, Event, EventId};
use serde::Serialize;
use sqlx::postgres::PgPool;
use sqlx::{PgConnection, PgTransaction};
use uuid::Uuid;

use crate::history::Change;
use crate::how::How;
use crate::routes::{CHANGED, NOTED, OFFERED};
use crate::run::Failure;

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
pub(crate) struct Work<'c> {
    pub(crate) tx: PgTransaction<'c>,
    pub(crate) changes: Vec<Change>,
    pub(crate) how: How,
}

impl Work<'_> {
    pub(crate) async fn begin(pool: &PgPool, how: How) -> Result<Self, sqlx::Error> {
        Ok(Self { tx: pool.begin().await?, changes: Vec::new(), how })
    }

    /// Changes a key so many times: its row's lock is taken first, and keeps its events in order.
    pub(crate) async fn change(&mut self, key: &str, times: usize) -> Result<(), Failure> {
        let times = i64::try_from(times)?;
        let (last, seq_before): (i64, i64) = sqlx::query_as(
            "insert into torture.key as k (key, n) values ($1, $2) on conflict (key) do update set n = k.n + $2
             returning n, (select last_value from outbox.event_seq)",
        )
        .bind(key)
        .bind(times)
        .fetch_one(&mut *self.tx)
        .await?;
        let entries = (last - times + 1..=last).map(|n| (Entry::new(Changed { key, n }).key(key), n));
        let (entries, counts): (Vec<_>, Vec<_>) = entries.unzip();
        let ids: Vec<EventId> = entries.iter().map(Entry::id).collect();
        for (event, n) in ids.into_iter().zip(counts) {
            let key = Some(key.to_owned());
            self.write(Change {
                name: CHANGED.to_owned(),
                key,
                n,
                seq_before,
                ..Change::of(event, self.how)
            });
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

    pub(crate) async fn note(&mut self, large: bool) -> Result<(), Failure> {
        let text = if large { "x".repeat(LARGE_BYTES) } else { String::new() };
        let entry = Entry::new(Noted { n: 0, text });
        self.write(Change { name: NOTED.to_owned(), ..Change::of(entry.id(), self.how) });
        entry.enqueue(&mut self.tx).await?;
        self.save().await
    }

    pub(crate) async fn notes(&mut self, many: usize) -> Result<(), Failure> {
        let entries: Vec<Entry> = (0..i64::try_from(many)?)
            .map(|n| {
                let entry = Entry::new(Noted { n, text: String::new() });
                self.write(Change { name: NOTED.to_owned(), n, ..Change::of(entry.id(), self.how) });
                entry
            })
            .collect();
        outbox::enqueue_all(&mut self.tx, entries).await?;
        self.save().await
    }

    pub(crate) async fn offer(&mut self, refuse: bool) -> Result<(), Failure> {
        let entry = Entry::new(Offered { refuse });
        self.write(Change { name: OFFERED.to_owned(), refuse, ..Change::of(entry.id(), self.how) });
        entry.enqueue(&mut self.tx).await?;
        self.save().await
    }

    pub(crate) async fn enqueue_by_sql(&mut self) -> Result<(), Failure> {
        let id: Uuid = sqlx::query_scalar("select outbox.enqueue($1, '{\"n\":\"1\"}')")
            .bind(NOTED)
            .fetch_one(&mut *self.tx)
            .await?;
        self.write(Change { name: NOTED.to_owned(), n: 1, ..Change::of(id.into(), self.how) });
        self.save().await
    }

    pub(crate) fn write(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Writes the domain's rows of the events that were enqueued since.
    pub(crate) async fn save(&mut self) -> Result<(), Failure> {
        save(&mut self.tx, &self.changes).await
    }
}

/// With the sequence's value after the write: the highest seq among these events.
async fn save(conn: &mut PgConnection, changes: &[Change]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = changes.iter().map(|change| change.event.as_uuid()).collect();
    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let keys: Vec<Option<&str>> = changes.iter().map(|change| change.key.as_deref()).collect();
    let counts: Vec<i64> = changes.iter().map(|change| change.n).collect();
    let refuse: Vec<bool> = changes.iter().map(|change| change.refuse).collect();
    let how: Vec<&str> = changes.iter().map(|change| change.how.as_str()).collect();
    let seqs_before: Vec<i64> = changes.iter().map(|change| change.seq_before).collect();
    sqlx::query(
        "insert into torture.change (id, name, key, n, refuse, how, seq_before, seq)
         select c.*, currval('outbox.event_seq')
         from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::text[], $7::bigint[]) as c
         on conflict do nothing",
    )
    .bind(ids)
    .bind(names)
    .bind(keys)
    .bind(counts)
    .bind(refuse)
    .bind(how)
    .bind(seqs_before)
    .execute(conn)
    .await?;
    Ok(())
}
