//! Rings turn: the pointer moves to an empty slot, and slots that are no longer needed are truncated. No row of them is ever
//! deleted alone, so an old snapshot can't make the tables grow.

mod expire; // removes old dedup records, retries, dead letters, audit
mod fold; // replaces small receipts by large ones
mod history; // turns the ring of failed attempts and repairs
mod turns; // which part of the clean-up is next

use std::time::{Duration, Instant};

use crate::{LowWater, Source, interval, within_time};
use outbox_runtime::Chain;
use sqlx::PgConnection;

use crate::metrics::Observer;

/// Slots are read by index. They are never analyzed, and the planner would prefer sequential scans.
const SESSION: [(&str, &str); 2] = [("enable_seqscan", "off"), ("enable_bitmapscan", "off")];
/// Slots of the event and delivery rings.
const SLOTS: i16 = 8;
/// Six slots hold the retention time, one is being filled and one is free.
const SLOTS_OF_RETENTION: u32 = 6;
/// Deliveries are needed only until they are settled.
const DELIVERY_SLOT_MAX: Duration = Duration::from_secs(60);
const CURSORS_PER_SLOT: i64 = 10_000;
const ROUND_MIN: Duration = Duration::from_millis(200);
const ROUND_MAX: Duration = Duration::from_secs(10);
/// Truncating gigabytes takes seconds. A half-open connection would never answer.
const PART_WITHIN: Duration = Duration::from_secs(120);
/// A transaction that claims deliveries takes milliseconds, and waits for a lock two seconds at most.
const CLAIMS_SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Cleans up one database until it is aborted: turns its rings, removes what is too old, and updates metrics.
pub async fn run(source: Source, retention: Duration) {
    tokio::join!(rings(&source, retention), expire::run(&source));
}

/// The parts run one after the other. A part that fails or is slow does not keep the others from running.
#[derive(Debug, Clone, Copy)]
enum Part {
    Observe,
    Events,
    Cursors,
    Deliveries,
    Ringing,
    History,
}

/// It has its own connection: a truncate waits for a lock, and the leader should not.
async fn rings(source: &Source, retention: Duration) {
    let pause = (retention / SLOTS_OF_RETENTION / 4).clamp(ROUND_MIN, ROUND_MAX) * source.budget().pace();
    let mut rings = Rings {
        source: source.name().to_owned(),
        retention,
        claims: LowWater::new(CLAIMS_SETTLED_AFTER),
        observer: Observer::new(source.name()),
    };
    let connections = source.connections("outbox relay (retention)", &SESSION, 1);
    // Many databases share few connections: so their rounds begin at different times.
    let mut wait = if connections.are_scarce() { pause.mul_f64(fastrand::f64()) } else { pause };
    loop {
        tokio::time::sleep(wait).await;
        wait = pause;
        let mut kept = None;
        for part in
            [Part::Observe, Part::Events, Part::Cursors, Part::Deliveries, Part::Ringing, Part::History]
        {
            let done = async {
                let mut loan = match kept.take() {
                    Some(loan) => loan,
                    None => connections.lend().await?,
                };
                rings.clean(part, loan.conn()).await?;
                Ok(loan)
            };
            match within_time(PART_WITHIN, done).await {
                Ok(loan) => kept = Some(loan),
                Err(error) => {
                    tracing::warn!(source = source.name(), ?part, error = %Chain(&error), "retention failed: trying again");
                }
            }
        }
        if let Some(loan) = kept {
            loan.give_back();
        }
    }
}

struct Rings {
    source: String,
    retention: Duration,
    claims: LowWater,
    observer: Observer,
}

impl Rings {
    async fn clean(&mut self, part: Part, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let slot_age = self.retention / SLOTS_OF_RETENTION;
        match part {
            Part::Observe => self.observer.look(conn).await,
            Part::Events => {
                mend_times(conn).await?;
                if age(conn, "event").await?.is_some_and(|age| age >= slot_age.as_secs_f64()) {
                    turn(conn, "event", SLOTS).await?;
                }
                self.truncate(conn, "event").await
            }
            Part::Cursors => {
                let cursors: Option<i64> = sqlx::query_scalar(
                    "select max(id) - min(id) from outbox.cursor where slot = (select last_value from outbox.cursor_slot)",
                )
                .fetch_one(&mut *conn)
                .await?;
                if cursors.is_some_and(|cursors| cursors >= CURSORS_PER_SLOT) {
                    turn(conn, "cursor", 2).await?;
                }
                self.truncate(conn, "cursor").await
            }
            Part::Deliveries => self.deliveries(conn, slot_age.min(DELIVERY_SLOT_MAX)).await,
            Part::Ringing => {
                sqlx::query("select outbox.truncate_waking()").execute(conn).await?;
                Ok(())
            }
            Part::History => history::turn(conn).await,
        }
    }

    async fn deliveries(&mut self, conn: &mut PgConnection, slot_age: Duration) -> Result<(), sqlx::Error> {
        self.recover(conn).await?;
        if age(conn, "delivery").await?.is_some_and(|age| age >= slot_age.as_secs_f64()) {
            let before: i16 = sqlx::query_scalar("select last_value::smallint from outbox.delivery_slot")
                .fetch_one(&mut *conn)
                .await?;
            if turn(conn, "delivery", SLOTS).await? == before {
                // No slot is empty: a queue without a worker keeps the oldest one in use.
                let evicted = evict_to_retry(conn).await?;
                if evicted > 0 {
                    tracing::warn!(
                        source = self.source,
                        deliveries = evicted,
                        "no worker receives them: moved aside so that the queue's log can turn"
                    );
                }
            }
        }
        self.truncate(conn, "delivery").await
    }

    /// A worker does this for its own queues. But a queue may have no worker any more, and claims that never end would hold the
    /// ring for ever.
    async fn recover(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (open, highest): (Option<i64>, Option<i64>) = sqlx::query_as(
            "select min(id) filter (where until is not null), max(id) from outbox.claim where id >= $1",
        )
        .bind(self.claims.mark())
        .fetch_one(&mut *conn)
        .await?;
        match highest {
            Some(highest) => self.claims.saw(open.unwrap_or(highest), highest, Instant::now()),
            // The table may have been restored from an earlier time.
            None => self.claims.reset(),
        }
        sqlx::query(
            "select outbox.recover(stale.queue, $1)
             from (select distinct queue from outbox.claim where id >= $1 and until < clock_timestamp()) as stale",
        )
        .bind(self.claims.mark())
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn truncate(&self, conn: &mut PgConnection, ring: &str) -> Result<(), sqlx::Error> {
        let slots: Vec<i16> = sqlx::query_scalar(
            "select slot from outbox.ring where ring = $1 and not outbox.slot_is_empty(ring, slot) order by slot",
        )
        .bind(ring)
        .fetch_all(&mut *conn)
        .await?;
        for slot in slots {
            // One statement each: a truncated slot stays locked until its transaction ends.
            let became: String = sqlx::query_scalar(
                "select case when $2 = case $1 when 'event' then (select last_value from outbox.event_slot)
                                               when 'cursor' then (select last_value from outbox.cursor_slot)
                                               else (select last_value from outbox.delivery_slot) end
                             then 'kept' else outbox.truncate_slot($1, $2, $3, $4) end",
            )
            .bind(ring)
            .bind(slot)
            .bind(interval(self.retention))
            .bind(self.claims.mark())
            .fetch_one(&mut *conn)
            .await?;
            match became.as_str() {
                "truncated" => tracing::debug!(source = self.source, ring, slot, "truncated"),
                // A dump reads all slots, and each try makes the relay wait behind it.
                "reading" => break,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Corrects times of a clock that was ahead. They would keep a slot until they have passed.
async fn mend_times(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update outbox.ring set entered_at = least(entered_at, clock_timestamp()), put_at = least(put_at, clock_timestamp())
         where entered_at > clock_timestamp() or put_at > clock_timestamp()",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// For how many seconds the pointer has not moved; none if its slot is empty.
async fn age(conn: &mut PgConnection, ring: &str) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - r.entered_at)::float8 from outbox.ring as r
         where r.ring = $1 and not outbox.slot_is_empty(r.ring, r.slot)
           and r.slot = case $1 when 'event' then (select last_value from outbox.event_slot)
                                else (select last_value from outbox.delivery_slot) end",
    )
    .bind(ring)
    .fetch_optional(conn)
    .await
}

async fn turn(conn: &mut PgConnection, ring: &str, slots: i16) -> Result<i16, sqlx::Error> {
    sqlx::query_scalar("select outbox.turn($1, $2)").bind(ring).bind(i32::from(slots)).fetch_one(conn).await
}

/// Evicts from the oldest slot, queue by queue and in parts, so that no other queue is locked meanwhile.
async fn evict_to_retry(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let oldest: Option<i16> = sqlx::query_scalar(
        "select slot from outbox.ring
         where ring = 'delivery' and slot <> (select last_value from outbox.delivery_slot) and not outbox.slot_is_empty(ring, slot)
         order by entered_at limit 1",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(slot) = oldest else { return Ok(0) };
    let queues: Vec<i32> =
        sqlx::query_scalar("select id from outbox.queue order by id").fetch_all(&mut *conn).await?;
    let mut evicted = 0;
    for queue in queues {
        loop {
            let part: i64 = sqlx::query_scalar("select outbox.evict_to_retry($1, $2)")
                .bind(slot)
                .bind(queue)
                .fetch_one(&mut *conn)
                .await?;
            if part == 0 {
                break;
            }
            evicted += part;
        }
    }
    Ok(evicted)
}
