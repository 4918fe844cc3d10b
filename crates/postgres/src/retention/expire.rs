//! Removes dedup records, retries, dead letters and audit entries after their time: each kind alone, a bounded part at a
//! time. It also folds small receipts.

use std::time::{Duration, Instant};

use crate::{Source, interval, within_time};
use outbox_runtime::Chain;
use outbox_transport::DEDUP_WINDOW;
use sqlx::PgConnection;

use super::fold::Folded;
use super::turns::{Part, Ran, Turns};

const PART_WITHIN: Duration = Duration::from_secs(120);
const ROWS_MAX: i64 = 10_000;
/// 32 MiB of a table.
const BLOCKS_MAX: i64 = 4096;

/// SQS keeps a message no longer than this.
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
const AUDIT_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
const DEDUP_SLOTS: i16 = 5;

pub(super) async fn run(source: &Source) {
    let connections = source.connections("outbox relay (clean-up)", &[], 1);
    let mut turns = Turns::new(Instant::now(), source.budget().pace());
    let mut progress = Progress::default();
    loop {
        let (part, wait) = turns.next(Instant::now());
        tokio::time::sleep(wait).await;
        let done = async {
            let mut loan = connections.lend().await?;
            let ran = part.clean(loan.conn(), &mut progress).await?;
            loan.give_back();
            Ok(ran)
        };
        let ran = within_time(PART_WITHIN, done).await.unwrap_or_else(|error| {
            tracing::warn!(source = source.name(), ?part, error = %Chain(&error), "clean-up failed: trying again later");
            Ran::Failed
        });
        turns.ran(part, ran, Instant::now());
    }
}

impl Part {
    async fn clean(self, conn: &mut PgConnection, progress: &mut Progress) -> Result<Ran, sqlx::Error> {
        let gone = match self {
            Part::Dedup => return dedup(conn, &mut progress.sweep).await,
            Part::Receipts => return progress.folded.on(conn, DEDUP_SLOTS).await,
            Part::Retries => sqlx::query(
                "with old as (
                     delete from outbox.retry where ctid = any (array(
                         select ctid from outbox.retry
                         where enqueued_at < clock_timestamp() - $1 and due_at < clock_timestamp() limit $2))
                     returning seq, queue, event_id, body, enqueued_at, attempts, repair
                 ), kept as (
                     insert into outbox.history (event_id, queue, attempt, what, code, error)
                     select event_id, queue, attempts, 'dead', 'expired', 'not delivered within 14 days' from old
                 )
                 insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, repair)
                 select seq, queue, event_id, body, enqueued_at, attempts, 'expired', 'not delivered within 14 days', repair
                 from old
                 on conflict do nothing",
            )
            .bind(interval(DEAD_LETTERS_KEPT)),
            Part::DeadLetters => sqlx::query(
                "with old as (
                     delete from outbox.dead_letter where ctid = any (array(
                         select ctid from outbox.dead_letter where dead_at < clock_timestamp() - $1 limit $2))
                     returning event_id, queue
                 )
                 insert into outbox.history (event_id, queue, what) select event_id, queue, 'removed' from old",
            )
            .bind(interval(DEAD_LETTERS_KEPT)),
            Part::Audit => sqlx::query(
                "delete from outbox.audit where id = any (array(
                     select id from outbox.audit where at < clock_timestamp() - $1 limit $2))",
            )
            .bind(interval(AUDIT_KEPT)),
        };
        let gone = gone.bind(ROWS_MAX).execute(conn).await?.rows_affected();
        if gone > 0 && matches!(self, Part::DeadLetters) {
            tracing::warn!(deliveries = gone, "dropped dead letters older than 14 days");
        }
        Ok(if gone >= ROWS_MAX as u64 { Ran::More } else { Ran::Done })
    }
}

/// The progress of earlier runs.
#[derive(Debug, Default)]
struct Progress {
    sweep: Sweep,
    folded: Folded,
}

/// How far the rows of a slot have been read, if they are removed one by one.
#[derive(Debug, Default)]
struct Sweep {
    slot: i16,
    block: i64,
}

/// A week's records are truncated as a whole. A record that was written long after its event keeps its slot. Then old records
/// are removed row by row, a part of the table at a time.
async fn dedup(conn: &mut PgConnection, sweep: &mut Sweep) -> Result<Ran, sqlx::Error> {
    for slot in 0..DEDUP_SLOTS {
        // One statement each: a truncated slot stays locked until its transaction ends.
        let became: String = sqlx::query_scalar("select outbox.truncate_dedup($1, $2)")
            .bind(slot)
            .bind(interval(DEDUP_WINDOW))
            .fetch_one(&mut *conn)
            .await?;
        if became == "late" {
            if sweep.slot != slot {
                *sweep = Sweep { slot, block: 0 };
            }
            return sweep.on(conn).await;
        }
    }
    Ok(Ran::Done)
}

impl Sweep {
    async fn on(&mut self, conn: &mut PgConnection) -> Result<Ran, sqlx::Error> {
        let blocks: i64 = sqlx::query_scalar(
            "select greatest(pg_relation_size(('outbox.dedup_' || $1::text)::regclass),
                             pg_relation_size(('outbox.receipt_' || $1::text)::regclass)) / current_setting('block_size')::bigint",
        )
        .bind(self.slot)
        .fetch_one(&mut *conn)
        .await?;
        if self.block >= blocks {
            self.block = 0;
            return Ok(Ran::Done);
        }
        sqlx::query(
            "with receipts as (
                 delete from outbox.receipt
                 where slot = $1 and ctid >= ('(' || $2 || ',0)')::tid and ctid < ('(' || $3 || ',0)')::tid
                   and done_at < clock_timestamp() - $4
             )
             delete from outbox.dedup
             where slot = $1 and ctid >= ('(' || $2 || ',0)')::tid and ctid < ('(' || $3 || ',0)')::tid
               and coalesce(done_at, until) < clock_timestamp() - $4",
        )
        .bind(self.slot)
        .bind(self.block.to_string())
        .bind((self.block + BLOCKS_MAX).to_string())
        .bind(interval(DEDUP_WINDOW))
        .execute(conn)
        .await?;
        self.block += BLOCKS_MAX;
        Ok(Ran::More)
    }
}
