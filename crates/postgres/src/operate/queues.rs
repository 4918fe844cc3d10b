//! The queues and the dedup record of one database, for an operator.

use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Addressed, At, COUNT_LIMIT, Count, DeadLetters, Depth, Filter, Letter, OperateError, Queues, Repair,
    Repaired, SetAside, Undeliverable,
};
use sqlx::query_as;
use uuid::Uuid;

use crate::interval;
use crate::operate::database::Database;
use crate::operate::letters;

const LETTERS_PER_PAGE: i64 = 100;
/// Without their bodies, which may be large.
const BARE_LETTERS_PER_PAGE: i64 = 1000;
/// No letter is older; a longer time can't be taken from a date.
pub(super) const AGE_MAX: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

#[derive(Debug)]
pub struct PostgresOperator {
    pub(super) database: Database,
    /// Dead letters up to here were read.
    /// So many of them were returned.
    returned: u32,
    seen: Key,
    /// The time of that death, as Postgres writes it: it may be infinite. For the newest first.
    seen_at: Option<String>,
    /// The newest delivery at the first read, so that a letter that dies again is not redriven for ever.
    newest: Option<i64>,
}

/// Identifies a dead letter. A sequence that was set back draws numbers twice, so a seq alone is not enough.
#[derive(Debug, Clone, Copy, Default)]
pub struct Key {
    seq: i64,
    queue: i32,
    event: Uuid,
}

impl Key {
    const LAST: Self = Self { seq: i64::MAX, queue: i32::MAX, event: Uuid::max() };
}

impl PostgresOperator {
    pub fn new(database: Database) -> Self {
        Self { database, returned: 0, seen: Key::default(), seen_at: None, newest: None }
    }

    async fn newest(&self) -> Result<i64, OperateError> {
        let newest =
            "select greatest(last_value, (select max(seq) from outbox.dead_letter)) from outbox.delivery_seq";
        Ok(self.database.one(query_as(newest)).await?.map_or(i64::MAX, |(newest,)| newest))
    }
}

impl Queues for PostgresOperator {
    fn source(&self) -> &str {
        self.database.name()
    }

    /// A worker holds the deliveries of a claimed batch that are neither recorded nor moved. A batch stays claimed until its
    /// last delivery is settled.
    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, OperateError> {
        type Row =
            (String, i64, i64, i64, i64, i64, i64, i64, Option<Uuid>, Option<f64>, i64, Option<String>);
        let rows: Vec<Row> = self
            .database
            .all(
                query_as(
                    "select q.rpc, log.waiting, held.live, held.ended, due.waiting, later.held, later.waiting, dead.letters,
                            oldest.event_id, oldest.seconds, aside.messages, aside.reason
                     from outbox.queue as q
                     join outbox.queue_head as head on head.queue = q.id
                     cross join lateral (
                         select count(*) as waiting from (
                             select from outbox.delivery as d where d.queue = q.id and d.seq > head.seq limit $1) as l
                     ) as log
                     cross join lateral (
                         select count(*) filter (where h.until > clock_timestamp()) as live,
                                count(*) filter (where h.until <= clock_timestamp()) as ended
                         from (
                             select c.until from outbox.claim as c
                             cross join lateral (
                                 select array(
                                     select p.event_id from outbox.recorded(q.rpc, array(
                                         select d.event_id from outbox.delivery as d
                                         where d.queue = c.queue and d.seq between c.first_seq and c.last_seq)) as p
                                     where p.done_at is not null) as ids
                                 where c.until is not null offset 0
                             ) as done
                             join outbox.delivery as d on d.queue = c.queue and d.seq between c.first_seq and c.last_seq
                             where c.queue = q.id and c.until is not null
                               and not exists (select from outbox.retry as r
                                               where r.seq = d.seq and r.queue = d.queue and r.event_id = d.event_id)
                               and not exists (select from outbox.dead_letter as l
                                               where l.seq = d.seq and l.queue = d.queue and l.event_id = d.event_id)
                               and d.event_id <> all (done.ids)
                             limit $1) as h
                     ) as held
                     cross join lateral (
                         select count(*) as waiting from (
                             select from outbox.retry as r
                             where r.queue = q.id and r.due_at <= clock_timestamp() limit $1) as r
                     ) as due
                     cross join lateral (
                         select count(*) filter (where r.token is not null) as held,
                                count(*) filter (where r.token is null) as waiting
                         from (select r.token from outbox.retry as r
                               where r.queue = q.id and r.due_at > clock_timestamp()
                               order by r.due_at limit $1) as r
                     ) as later
                     cross join lateral (
                         select count(*) as letters from (
                             select from outbox.dead_letter as l where l.queue = q.id limit $1) as l
                     ) as dead
                     cross join lateral (
                         select count(*) as messages, min(r.last_error) as reason
                         from (select r.last_code, r.last_error from outbox.retry as r
                               where r.queue = q.id order by r.due_at limit $1) as r
                         where r.last_code = 'set_aside'
                     ) as aside
                     left join lateral (
                         select o.event_id,
                                extract(epoch from clock_timestamp() - outbox.sane_time(o.since))::float8 as seconds
                         from (
                             (select d.event_id, d.enqueued_at as since from outbox.delivery as d
                              where d.queue = q.id and d.seq > head.seq order by d.seq limit 1)
                             union all
                             (select r.event_id, r.due_at from outbox.retry as r
                              where r.queue = q.id and r.due_at <= clock_timestamp() order by r.due_at limit 1)
                         ) as o order by o.since limit 1
                     ) as oldest on true
                     order by q.rpc",
                )
                .bind(COUNT_LIMIT),
            )
            .await?;
        let mut depths: Vec<Depth> = rows
            .into_iter()
            .map(|(rpc, log, live, ended, due, held, later, dead, oldest, seconds, aside, reason)| Depth {
                rpc,
                waiting: Count::new(log + ended + due),
                hidden: Count::new(live + held),
                retrying: Some(Count::new(later)),
                dead: Count::new(dead),
                set_aside: reason.map(|reason| SetAside { messages: Count::new(aside), reason }),
                oldest_seconds: seconds,
                oldest_event: oldest.map(EventId::from),
                missing: None,
            })
            .collect();
        for rpc in rpcs {
            if !depths.iter().any(|depth| depth.rpc == rpc.as_str()) {
                depths.push(Depth::empty(rpc));
            }
        }
        depths.sort_by(|one, other| one.rpc.cmp(&other.rpc));
        Ok(depths)
    }

    /// The transaction that advances the cursor also fills the queues.
    async fn undeliverable(&self) -> Result<Option<Undeliverable>, OperateError> {
        Ok(None)
    }

    async fn replay(
        &self,
        repair: &Repair,
        messages: &[Addressed],
        force: bool,
    ) -> Vec<Result<bool, OperateError>> {
        let replay = query_as("select outbox.replay($1, $2, $3, $4, $5)")
            .bind(repair.id)
            .bind(messages.iter().map(|message| message.rpc.as_str()).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.event.as_uuid()).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>())
            .bind(force);
        each(self.database.one(replay).await, |sent| sent)
    }
}

impl DeadLetters for PostgresOperator {
    type Handle = Key;

    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<Key>>, OperateError> {
        type Row = (i64, i32, String, Uuid, String, i32, String, String, At, String, i32);
        let id = filter.id.as_deref().map(str::parse::<i64>).transpose();
        let Ok(id) = id else { return Ok(Vec::new()) };
        let newest = match self.newest {
            Some(newest) => newest,
            None => self.newest().await?,
        };
        self.newest = Some(newest);
        let page = if filter.without_bodies { BARE_LETTERS_PER_PAGE } else { LETTERS_PER_PAGE };
        let left = filter.limit.map_or(page, |limit| i64::from(limit.saturating_sub(self.returned)));
        let about = &filter.about;
        let header = about.header.as_ref();
        self.database.sees_values_for(header.is_some()).await?;
        let read = query_as(letters::NEXT)
            .bind(self.seen.seq)
            .bind(filter.rpc.as_ref().map(Rpc::as_str))
            .bind(filter.event.map(EventId::as_uuid))
            .bind(&filter.code)
            .bind(filter.older_than.map(|age| interval(age.min(AGE_MAX))))
            .bind(id)
            .bind(left.min(page))
            .bind(newest)
            .bind(self.seen.queue)
            .bind(self.seen.event)
            .bind(filter.newest_first)
            .bind(&self.seen_at)
            .bind(&about.key)
            .bind(&about.name)
            .bind(header.map(|(name, _)| name))
            .bind(header.map(|(_, value)| value))
            .bind(&about.reason)
            .bind(filter.dead_by)
            .bind(filter.without_bodies);
        // What few letters have may be found after a long search.
        let rows: Vec<Row> = match about.is_of_event() {
            true => self.database.scan(read).await?,
            false => self.database.all(read).await?,
        };
        self.seen = rows.last().map_or(Key::LAST, |row| Key { seq: row.0, queue: row.1, event: row.3 });
        self.seen_at = rows.last().map(|row| row.9.clone());
        self.returned = self.returned.saturating_add(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let letters = rows.into_iter().filter_map(
            |(seq, queue, rpc, event, body, attempts, code, reason, dead_at, _, body_bytes)| {
                Some(Letter {
                    id: seq.to_string(),
                    handle: Key { seq, queue, event },
                    rpc: Rpc::new(&rpc)?,
                    event: Some(event.into()),
                    attempts: Some(attempts),
                    code,
                    reason,
                    dead_at,
                    body,
                    body_bytes: usize::try_from(body_bytes).unwrap_or(0),
                })
            },
        );
        Ok(letters.collect())
    }

    async fn redrive(
        &self,
        repair: &Repair,
        letters: &[Letter<Key>],
        force: bool,
    ) -> Vec<Result<Repaired, OperateError>> {
        let (seqs, queues, events) = columns(letters);
        let redrive = query_as("select outbox.redrive($1, $2, $3, $4, $5)")
            .bind(repair.id)
            .bind(seqs)
            .bind(queues)
            .bind(events)
            .bind(force);
        each(self.database.one(redrive).await, |outcome: String| match outcome.as_str() {
            "moved" => Repaired::Moved,
            "gone" => Repaired::Gone,
            "busy" => Repaired::Busy,
            _ => Repaired::Refused(outcome),
        })
    }

    async fn take_away(
        &self,
        repair: &Repair,
        letters: &[Letter<Key>],
    ) -> Vec<Result<Repaired, OperateError>> {
        let (seqs, queues, events) = columns(letters);
        let drop = query_as("select outbox.drop_dead_letters($1, $2, $3, $4)")
            .bind(repair.id)
            .bind(seqs)
            .bind(queues)
            .bind(events);
        each(self.database.one(drop).await, |there| if there { Repaired::Moved } else { Repaired::Gone })
    }

    async fn put_back(&mut self) {
        (self.seen, self.seen_at, self.newest) = (Key::default(), None, None);
        self.returned = 0;
    }
}

fn columns(letters: &[Letter<Key>]) -> (Vec<i64>, Vec<i32>, Vec<Uuid>) {
    letters.iter().map(|Letter { handle: Key { seq, queue, event }, .. }| (*seq, *queue, *event)).collect()
}

/// The function's answer for each, or the failure for each.
fn each<T, U>(
    said: Result<Option<(Vec<T>,)>, OperateError>,
    of: impl Fn(T) -> U,
) -> Vec<Result<U, OperateError>> {
    match said {
        Ok(said) => said.into_iter().flat_map(|(said,)| said).map(|one| Ok(of(one))).collect(),
        Err(stopped) => vec![Err(stopped)],
    }
}
