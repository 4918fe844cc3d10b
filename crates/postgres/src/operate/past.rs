//! Failed attempts and repairs of one event, joined with who repaired it.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, History, OperateError, Past, Try, What};
use sqlx::query_as;

use super::queues::PostgresOperator;

/// The newest are read. Only an event that was repaired very often has more.
const ENTRIES_MAX: i64 = 1000;

/// RPC, time, kind, attempt, code, error, worker, and who repaired.
type Row =
    (Option<String>, At, String, Option<i32>, Option<String>, Option<String>, Option<String>, Option<String>);

impl History for PostgresOperator {
    async fn past(&self, event: EventId, _: &[Rpc]) -> Result<Vec<Past>, OperateError> {
        let past = query_as(
            "select q.rpc, h.at, h.what, h.attempt, h.code, h.error, h.worker, a.who
             from (select e.at, e.queue, e.what, e.attempt, e.code, e.error, e.worker, e.repair
                   from outbox.history as e where e.event_id = $1
                   union all
                   select d.at, d.queue, 'dropped', null, null, null, null, d.repair
                   from outbox.dropped as d where d.event_id = $1 and d.queue is not null) as h
             left join outbox.queue as q on q.id = h.queue
             left join outbox.audit as a on a.id = h.repair
             order by h.at desc limit $2",
        );
        let rows: Vec<Row> = self.database.all(past.bind(event.as_uuid()).bind(ENTRIES_MAX)).await?;
        Ok(rows.into_iter().rev().filter_map(read).collect())
    }
}

/// None for a kind that a later version wrote.
fn read((rpc, at, kind, attempt, code, error, worker, by): Row) -> Option<Past> {
    let (code, error) = (code.unwrap_or_default(), error.unwrap_or_default());
    let what = match kind.as_str() {
        "done" => What::Done { attempt, worker },
        "redriven" => What::Redriven { by },
        "replayed" => What::Replayed { by },
        "dropped" => What::Dropped { by },
        "taken_back" => What::TakenBack { by },
        "published_again" => What::PublishedAgain { by, code, reason: error },
        "removed" => What::Removed,
        "failed" => What::Failed(Try { attempt, code, error, worker }),
        "held" => What::Held(Try { attempt, code, error, worker }),
        "lost" => What::Lost(Try { attempt, code, error, worker }),
        "dead" => What::Dead(Try { attempt, code, error, worker }),
        _ => return None,
    };
    Some(Past { rpc, at, what })
}
