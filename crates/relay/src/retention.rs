//! Rings turn: the pointer moves to an empty slot, and slots that nobody needs are truncated. Nothing is ever deleted
//! row by row, so an old snapshot can't make the tables grow.

use std::time::{Duration, Instant};

use outbox_schema::{Source, interval};
use runtime::Chain;
use sqlx::PgConnection;

use crate::observe::Observer;

/// Slots are looked into by index. They are never analyzed, and the planner would rather read them whole.
const SESSION: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("max_parallel_workers_per_gather", "0")];
/// Slots of the event and delivery rings.
const SLOTS: i16 = 8;
/// Six slots hold the retention time, one is being filled and one is free.
const SLOTS_OF_RETENTION: u32 = 6;
/// Deliveries are needed only until they are settled.
const DELIVERY_SLOT_MAX: Duration = Duration::from_secs(60);
const CURSORS_PER_SLOT: i64 = 10_000;
const DEDUP_SLOTS: i64 = 5;
const DEDUP_ROWS_MAX: i64 = 100_000;
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
const DEDUP_WINDOW: Duration = Duration::from_secs(21 * 24 * 3600);
/// As long as SQS keeps a message at most.
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
const AUDIT_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
const ROUND_MIN: Duration = Duration::from_millis(200);
/// Truncating gigabytes takes seconds. A connection that is half-open would take for ever.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);
const ROUND_MAX: Duration = Duration::from_secs(10);

/// Turns the rings of one database until it is aborted, and looks what stands in it. On a connection of its own: a truncate
/// waits for a lock, 50 ms at most, and the leader should not.
pub(crate) async fn run(source: Source, retention: Duration) {
    let pause = (retention / SLOTS_OF_RETENTION / 4).clamp(ROUND_MIN, ROUND_MAX);
    let mut conn = None;
    let mut expired_at: Option<Instant> = None;
    let mut observer = Observer::new(source.name());
    loop {
        tokio::time::sleep(pause).await;
        let round = async {
            let mut open = match conn.take() {
                Some(open) => open,
                None => source.connect("outbox relay (retention)", &SESSION).await?,
            };
            observer.look(&mut open).await?;
            round(&mut open, retention).await?;
            if expired_at.is_none_or(|at| at.elapsed() >= EXPIRE_EVERY) {
                expire(&mut open).await?;
                expired_at = Some(Instant::now());
            }
            Ok::<_, sqlx::Error>(open)
        };
        match tokio::time::timeout(ROUND_TIMEOUT, round).await {
            Ok(Ok(open)) => conn = Some(open),
            Err(_) => tracing::warn!(source = source.name(), "retention got no answer: trying again"),
            Ok(Err(error)) => {
                tracing::warn!(source = source.name(), error = %Chain(&error), "retention failed: trying again");
            }
        }
    }
}

async fn round(conn: &mut PgConnection, retention: Duration) -> Result<(), sqlx::Error> {
    let slot_age = retention / SLOTS_OF_RETENTION;
    let event_age: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - occurred_at)::float8 from outbox.event
         where slot = (select last_value from outbox.event_slot) order by seq limit 1",
    )
    .fetch_optional(&mut *conn)
    .await?;
    if event_age.is_some_and(|age| age >= slot_age.as_secs_f64()) {
        turn(conn, "event", SLOTS).await?;
    }
    truncate_others(conn, "event", SLOTS, retention).await?;

    let cursors: Option<i64> = sqlx::query_scalar(
        "select max(id) - min(id) from outbox.cursor where slot = (select last_value from outbox.cursor_slot)",
    )
    .fetch_one(&mut *conn)
    .await?;
    if cursors.is_some_and(|cursors| cursors >= CURSORS_PER_SLOT) {
        turn(conn, "cursor", 2).await?;
    }
    truncate_others(conn, "cursor", 2, retention).await?;

    deliveries(conn, slot_age.min(DELIVERY_SLOT_MAX)).await?;

    Ok(())
}

/// Dedup records and dead letters that nobody needs any more. Looking for them may read a week's records: so rarely.
async fn expire(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // A record lies in the slot of its event's week. Of five, only the one that is used next can be over by 21 days.
    let weeks = chrono::Utc::now().timestamp().div_euclid(7 * 24 * 3600);
    let slot = i16::try_from((weeks + 1).rem_euclid(DEDUP_SLOTS)).unwrap_or(0);
    let truncated: bool = sqlx::query_scalar("select outbox.truncate_dedup($1, $2)")
        .bind(slot)
        .bind(interval(DEDUP_WINDOW))
        .fetch_one(&mut *conn)
        .await?;
    if !truncated {
        // Old events done lately, or ids that carry no time, keep the rest of their slot: that leaves row by row.
        sqlx::query(
            "delete from outbox.dedup where slot = $1 and ctid = any (array(
                 select ctid from outbox.dedup
                 where slot = $1 and coalesce(done_at, until) < clock_timestamp() - $2 limit $3))",
        )
        .bind(slot)
        .bind(interval(DEDUP_WINDOW))
        .bind(DEDUP_ROWS_MAX)
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query(
        "with old as (
             delete from outbox.retry where enqueued_at < clock_timestamp() - $1 and due_at < clock_timestamp()
             returning seq, queue, event_id, body, enqueued_at, attempts
         )
         insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
         select seq, queue, event_id, body, enqueued_at, attempts, 'expired', 'nobody delivered it within 14 days' from old
         on conflict (seq) do nothing",
    )
    .bind(interval(DEAD_LETTERS_KEPT))
    .execute(&mut *conn)
    .await?;
    sqlx::query("delete from outbox.audit where at < clock_timestamp() - $1")
        .bind(interval(AUDIT_KEPT))
        .execute(&mut *conn)
        .await?;
    let gone = sqlx::query("delete from outbox.dead_letter where dead_at < clock_timestamp() - $1")
        .bind(interval(DEAD_LETTERS_KEPT))
        .execute(conn)
        .await?
        .rows_affected();
    if gone > 0 {
        tracing::warn!(deliveries = gone, "dropped dead letters older than 14 days");
    }
    Ok(())
}

async fn deliveries(conn: &mut PgConnection, slot_age: Duration) -> Result<(), sqlx::Error> {
    // A worker does this for its own queues. But a queue may have none any more, and claims that nobody ends hold the
    // ring for ever.
    sqlx::query(
        "select outbox.recover(stale.queue)
         from (select distinct queue from outbox.claim where until < clock_timestamp()) as stale",
    )
    .execute(&mut *conn)
    .await?;
    let current: Option<(i16, f64)> = sqlx::query_as(
        "select slot, extract(epoch from clock_timestamp() - enqueued_at)::float8 from outbox.delivery
         where slot = (select last_value from outbox.delivery_slot) order by seq limit 1",
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((slot, age)) = current
        && age >= slot_age.as_secs_f64()
        && turn(conn, "delivery", SLOTS).await? == slot
    {
        // The next slot is still in use: a queue that no worker receives from holds the ring back.
        let spilled = spill(conn, (slot + 1) % SLOTS).await?;
        if spilled > 0 {
            tracing::warn!(
                deliveries = spilled,
                "no worker receives them: moved aside so that the queue's log can turn"
            );
        }
    }
    truncate_others(conn, "delivery", SLOTS, Duration::ZERO).await
}

/// Queue by queue, a part at a time: nobody else's queue is locked meanwhile.
async fn spill(conn: &mut PgConnection, slot: i16) -> Result<i64, sqlx::Error> {
    let queues: Vec<i32> =
        sqlx::query_scalar("select id from outbox.queue order by id").fetch_all(&mut *conn).await?;
    let mut spilled = 0;
    for queue in queues {
        loop {
            let part: i64 = sqlx::query_scalar("select outbox.spill($1, $2)")
                .bind(slot)
                .bind(queue)
                .fetch_one(&mut *conn)
                .await?;
            if part == 0 {
                break;
            }
            spilled += part;
        }
    }
    Ok(spilled)
}

async fn turn(conn: &mut PgConnection, ring: &str, slots: i16) -> Result<i16, sqlx::Error> {
    sqlx::query_scalar("select outbox.turn($1, $2)").bind(ring).bind(i32::from(slots)).fetch_one(conn).await
}

async fn truncate_others(
    conn: &mut PgConnection,
    ring: &str,
    slots: i16,
    keep: Duration,
) -> Result<(), sqlx::Error> {
    for slot in 0..slots {
        // One statement each: a truncated slot stays locked until its transaction ends.
        let truncated: bool = sqlx::query_scalar(
            "select case $1 when 'event' then (select last_value from outbox.event_slot)
                            when 'cursor' then (select last_value from outbox.cursor_slot)
                            else (select last_value from outbox.delivery_slot) end <> $2
                    and outbox.truncate_slot($1, $2, $3)",
        )
        .bind(ring)
        .bind(slot)
        .bind(interval(keep))
        .fetch_one(&mut *conn)
        .await?;
        if truncated {
            tracing::debug!(ring, slot, "truncated");
        }
    }
    Ok(())
}
