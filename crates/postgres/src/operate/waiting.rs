//! The messages of a queue: in its log, with a row of their own, or in a worker's claim.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{Able, At, Hand, InQueue, Look, OperateError, Repair, Spot, Stage, Waiting};
use sqlx::query_as;
use uuid::Uuid;

use super::queues::PostgresOperator;

const PER_PAGE: i64 = 1000;
/// What worker says of a delivery that is held, begins with this.
const HELD: &str = "held, ";

/// Parts of the log, of retries and of open claims, each in its order. Only a name, a key and a header leave the database.
macro_rules! look {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select p.seq, p.event_id, p.logged, p.state, p.since, p.attempts, p.code, p.error, p.due_at, p.worker,
                    outbox.body_field(p.body, 'name'), outbox.body_field(p.body, 'key'),
                    case when $8::text is not null then outbox.body_field(p.body, 'header', $8) end
             from (
                 (select d.seq, d.event_id, d.body, true as logged, 'waiting' as state, d.enqueued_at as since, 0 as attempts,
                         null::text as code, null::text as error, null::timestamptz as due_at, null::text as worker
                  from outbox.delivery_shown as d
                  where $2 and d.queue = (select q.id from outbox.queue as q where q.rpc = $1)
                    and d.seq > (select h.seq from outbox.queue_head as h where h.rpc = $1)
                    and (d.seq, d.event_id) ", $beyond, " ($5, $6)
                  order by d.seq ", $order, ", d.event_id ", $order, " limit $7)
                 union all
                 (select r.seq, r.event_id, r.body, false,
                         case when r.due_at <= clock_timestamp() then 'waiting' when r.token is not null then 'calling'
                              when starts_with(r.last_error, $9) then 'held' else 'retrying' end,
                         r.enqueued_at, r.attempts, r.last_code, left(r.last_error, 2000), r.due_at, null
                  from outbox.retry_shown as r
                  where r.queue = (select q.id from outbox.queue as q where q.rpc = $1)
                    and case when r.due_at <= clock_timestamp() then $2 when r.token is null then $3 else $4 end
                    and (r.seq, r.event_id) ", $beyond, " ($5, $6)
                  order by r.seq ", $order, ", r.event_id ", $order, " limit $7)
                 union all
                 (select d.seq, d.event_id, d.body, true, case when c.until > clock_timestamp() then 'calling' else 'waiting' end,
                         d.enqueued_at, 1, null, null, c.until, c.worker
                  from outbox.claim as c
                  cross join lateral (
                      select array(select p.event_id from outbox.recorded($1, array(
                                       select d.event_id from outbox.delivery as d
                                       where d.queue = c.queue and d.seq between c.first_seq and c.last_seq)) as p
                                   where p.done_at is not null) as ids
                      where c.until is not null offset 0
                  ) as done
                  join outbox.delivery_shown as d on d.queue = c.queue and d.seq between c.first_seq and c.last_seq
                  where c.queue = (select q.id from outbox.queue as q where q.rpc = $1) and c.until is not null
                    and case when c.until > clock_timestamp() then $4 else $2 end
                    and not exists (select from outbox.retry as r
                                    where r.seq = d.seq and r.queue = d.queue and r.event_id = d.event_id)
                    and not exists (select from outbox.dead_letter as l
                                    where l.seq = d.seq and l.queue = d.queue and l.event_id = d.event_id)
                    and d.event_id <> all (done.ids)
                    and (d.seq, d.event_id) ", $beyond, " ($5, $6)
                  order by d.seq ", $order, ", d.event_id ", $order, " limit $7)
             ) as p order by p.seq ", $order, ", p.event_id ", $order, " limit $7"
        )
    };
}

type Row = (
    i64,
    Uuid,
    bool,
    String,
    At,
    i32,
    Option<String>,
    Option<String>,
    Option<At>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

impl Able for PostgresOperator {
    fn refusal(&self, _: Hand) -> Option<OperateError> {
        None
    }
}

impl Waiting for PostgresOperator {
    async fn queues(&self) -> Result<Vec<Rpc>, OperateError> {
        let names = query_as("select rpc from outbox.queue order by rpc");
        let names: Vec<(String,)> = self.database.all(names).await?;
        Ok(names.into_iter().filter_map(|(name,)| Rpc::new(&name)).collect())
    }

    async fn look(&self, look: &Look, after: Option<Spot>) -> Result<Vec<InQueue>, OperateError> {
        let (sql, begins) = match look.newest {
            true => (look!("<", "desc"), (i64::MAX, Uuid::max())),
            false => (look!(">", "asc"), (i64::MIN, Uuid::nil())),
        };
        let (seq, event) = after.map_or(begins, |spot| (spot.seq, spot.event.as_uuid()));
        self.database.sees_values_for(look.header.is_some()).await?;
        let read = query_as(sql)
            .bind(look.rpc.as_str())
            .bind(look.due)
            .bind(look.later)
            .bind(look.calling)
            .bind(seq)
            .bind(event)
            .bind(PER_PAGE)
            .bind(&look.header)
            .bind(HELD);
        let rows: Vec<Row> = self.database.all(read).await?;
        Ok(rows.into_iter().map(|row| in_queue(&look.rpc, row)).collect())
    }

    async fn retry_now(&self, repair: &Repair, rpc: &Rpc, those: &[Spot]) -> Result<u64, OperateError> {
        let (seqs, events) = columns(those);
        let retry = query_as("select outbox.retry_now($1, $2, $3, $4)").bind(repair.id);
        let retry = retry.bind(rpc.as_str()).bind(seqs).bind(events);
        Ok(self.database.one(retry).await?.map_or(0, |(changed,): (i64,)| changed.unsigned_abs()))
    }

    async fn give_up(
        &self,
        repair: &Repair,
        rpc: &Rpc,
        those: &[Spot],
        reason: &str,
    ) -> Result<u64, OperateError> {
        if let Some(upto) = those.iter().filter(|spot| spot.logged).map(|spot| spot.seq).max() {
            self.take_log(repair, rpc, upto).await?;
        }
        let (seqs, events) = columns(those);
        let give_up = query_as("select outbox.give_up($1, $2, $3, $4, $5)").bind(repair.id);
        let give_up = give_up.bind(rpc.as_str()).bind(seqs).bind(events).bind(reason);
        Ok(self.database.one(give_up).await?.map_or(0, |(changed,): (i64,)| changed.unsigned_abs()))
    }
}

impl PostgresOperator {
    /// A message of the log can only be changed after it got a row of its own, and so did all before it.
    async fn take_log(&self, repair: &Repair, rpc: &Rpc, upto: i64) -> Result<(), OperateError> {
        loop {
            let take = query_as("select outbox.take_log($1, $2, $3)");
            let more = self.database.one(take.bind(repair.id).bind(rpc.as_str()).bind(upto)).await?;
            if !more.is_some_and(|(more,)| more) {
                return Ok(());
            }
        }
    }
}

fn in_queue(rpc: &Rpc, row: Row) -> InQueue {
    let (seq, event, logged, state, since, attempts, code, reason, due_at, worker, name, key, header) = row;
    let event = EventId::from(event);
    InQueue {
        rpc: rpc.to_string(),
        event,
        event_name: name,
        key,
        header,
        state: match state.as_str() {
            "calling" => Stage::Calling,
            "held" => Stage::Held,
            "retrying" => Stage::Retrying,
            _ => Stage::Waiting,
        },
        since,
        attempts,
        code,
        reason,
        due_at,
        worker,
        spot: Spot { seq, event, logged },
    }
}

fn columns(those: &[Spot]) -> (Vec<i64>, Vec<Uuid>) {
    those.iter().map(|spot| (spot.seq, spot.event.as_uuid())).unzip()
}
