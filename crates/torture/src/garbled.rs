//! Rows that no bus can carry. `outbox.enqueue` would refuse them, so they are inserted without it, as any publisher may.

use crate::history::Change;
use crate::routes::GARBLED;
use crate::run::Failure;
use crate::work::Work;

/// Larger than any event.
const OVERSIZE_BYTES: usize = 1_100_000;

/// A row's flaw; the rest of the row is valid.
struct Flaw {
    payload: String,
    headers: Option<String>,
    key: Option<String>,
    occurred_at: Option<&'static str>,
}

impl Flaw {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let times = ["infinity", "-infinity", "290000-01-01 00:00:00+00", "4000-01-01 00:00:00+00 BC"];
        let payloads = [
            "",
            "this is no JSON",
            "[1]",
            "\"a text\"",
            "7",
            "null",
            "{\"n\":",
            "{}{}",
            "{\"n\":1,\"n\":2}",
            "{\"n\":\"\\ud800\"}",
            "{\"n\":1e999}",
        ];
        let headers = ["", "these are no headers", "[]", "{\"a\":1}", "{\"a\":null}", "{\"host\":\"h\"}"];
        let large = || format!("{{\"a\":\"{}\"}}", "x".repeat(OVERSIZE_BYTES));
        let mut flaw = Self { payload: "{}".to_owned(), headers: None, key: None, occurred_at: None };
        match random.u8(0..8) {
            0 | 1 => flaw.occurred_at = random.choice(times),
            2 | 3 => flaw.payload = random.choice(payloads).unwrap_or_default().to_owned(),
            4 | 5 => flaw.headers = random.choice(headers).map(str::to_owned),
            6 => flaw.payload = large(),
            _ if random.bool() => flaw.headers = Some(large()),
            _ => flaw.key = Some("k".repeat(OVERSIZE_BYTES)),
        }
        flaw
    }
}

impl Work<'_> {
    pub(crate) async fn garble(&mut self, random: &mut fastrand::Rng) -> Result<(), Failure> {
        let event = outbox::EventId::new();
        let Flaw { payload, headers, key, occurred_at } = Flaw::draw(random);
        self.write(Change { name: GARBLED.to_owned(), ..Change::of(event, self.how) });
        sqlx::query(
            "insert into outbox.event (id, name, payload, headers, key, occurred_at, slot)
             values ($1, $2, $3, $4, $5, coalesce($6::text::timestamptz, clock_timestamp()), (select last_value from outbox.event_slot))",
        )
        .bind(event.as_uuid())
        .bind(GARBLED)
        .bind(payload)
        .bind(headers)
        .bind(key)
        .bind(occurred_at)
        .execute(&mut *self.tx)
        .await?;
        sqlx::query("select outbox.wake()").execute(&mut *self.tx).await?;
        self.save().await
    }
}
