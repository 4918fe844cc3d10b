//! The line in the database itself. The SQL of its queues and of its dedup record, as an operator needs it.

mod deliveries;

use event::EventId;
use event_router::Rpc;
use outbox_postgres::interval;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::{Audit, DeadLetters, Depth, Filter, Kept, Letter, Queues, Redriven, SetAside, Undeliverable};
use crate::database::Database;
use crate::repair::Repair;
use crate::show::{COUNT_LIMIT, Count};
use crate::stopped::Stopped;
use crate::time::At;

const LETTERS_PER_PAGE: i64 = 100;

/// The queues, dead letters and dedup record of one database.
#[derive(Debug)]
pub(crate) struct Postgres {
    database: Database,
    /// Dead letters up to here were looked at.
    seen: i64,
    /// The newest delivery when the looking began: what was sent back and died again is not sent back for ever.
    newest: Option<i64>,
}

impl Postgres {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, seen: 0, newest: None }
    }

    async fn newest(&self) -> Result<i64, Stopped> {
        let newest =
            "select greatest(last_value, (select max(seq) from outbox.dead_letter)) from outbox.delivery_seq";
        let newest: Option<(i64,)> = self.database.one(query_as(newest)).await?;
        Ok(newest.map_or(i64::MAX, |(newest,)| newest))
    }

    async fn make_queue(&self, rpc: &Rpc) -> Result<(), Stopped> {
        let insert =
            query("insert into outbox.queue (rpc) values ($1) on conflict do nothing").bind(rpc.as_str());
        self.database.execute(insert).await.map(|_| ())
    }
}

impl Queues for Postgres {
    fn source(&self) -> &str {
        self.database.name()
    }

    /// What a worker holds is what lies in a claimed batch and is neither recorded nor moved: a batch stays claimed until
    /// the last of it is settled.
    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, Stopped> {
        type Row =
            (String, i64, i64, i64, i64, i64, i64, i64, Option<Uuid>, Option<f64>, i64, Option<String>);
        let rows: Vec<Row> = self
            .database
            .all(
                query_as(
                    "select q.rpc, log.waiting, held.live, held.ended, due.waiting, later.held, later.waiting, dead.letters,
                            oldest.event_id, oldest.seconds, aside.messages, aside.reason
                     from outbox.queue as q
                     cross join lateral (
                         select coalesce((select c.last_seq from outbox.claim as c where c.queue = q.id
                                          order by c.id desc limit 1), 0) as seq
                     ) as head
                     cross join lateral (
                         select count(*) as waiting from (
                             select from outbox.delivery as d where d.queue = q.id and d.seq > head.seq limit $1) as l
                     ) as log
                     cross join lateral (
                         select count(*) filter (where h.until > clock_timestamp()) as live,
                                count(*) filter (where h.until <= clock_timestamp()) as ended
                         from (
                             select c.until from outbox.claim as c
                             join outbox.delivery as d on d.queue = c.queue and d.seq between c.first_seq and c.last_seq
                             where c.queue = q.id and c.until is not null
                               and not exists (select from outbox.retry as r where r.seq = d.seq)
                               and not exists (select from outbox.dead_letter as l where l.seq = d.seq)
                               and not exists (select from outbox.dedup as p
                                               where p.slot = outbox.dedup_slot(d.event_id) and p.event_id = d.event_id
                                                 and p.rpc = q.rpc and p.done_at is not null)
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

    /// The relay puts events into queues itself, in the transaction that says that they are put.
    async fn undeliverable(&self) -> Result<Option<Undeliverable>, Stopped> {
        Ok(None)
    }

    /// Into `outbox.retry`: only the relay's leader may append to the log.
    async fn send(&self, rpc: &Rpc, event: EventId, body: &str) -> Result<(), Stopped> {
        let sent: Vec<(i32,)> = self
            .database
            .all(
                query_as(
                    "with sent as (
                         insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
                         select nextval('outbox.delivery_seq'), q.id, $2, $3, clock_timestamp(), 0, clock_timestamp(),
                                'replay', 'sent again by `outbox replay`'
                         from outbox.queue as q where q.rpc = $1
                         returning queue
                     ), rung as (
                         select s.queue, pg_notify('outbox_delivery', s.queue::text) from sent as s
                     )
                     select queue from rung",
                )
                .bind(rpc.as_str())
                .bind(event.as_uuid())
                .bind(body),
            )
            .await?;
        if sent.is_empty() {
            // Neither relay nor worker has heard of it yet.
            self.make_queue(rpc).await?;
            return Box::pin(self.send(rpc, event, body)).await;
        }
        Ok(())
    }
}

impl DeadLetters for Postgres {
    type Handle = i64;

    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<i64>>, Stopped> {
        type Row = (i64, String, Uuid, String, i32, String, String, At);
        let id = match filter.id.as_deref().map(str::parse::<i64>) {
            Some(Err(_)) => return Ok(Vec::new()),
            Some(Ok(id)) => Some(id),
            None => None,
        };
        let newest = match self.newest {
            Some(newest) => newest,
            None => self.newest().await?,
        };
        self.newest = Some(newest);
        let rows: Vec<Row> = self
            .database
            .all(
                query_as(
                    "select l.seq, q.rpc, l.event_id, l.body, l.attempts, l.code, l.reason, l.dead_at
                     from outbox.dead_letter as l join outbox.queue as q on q.id = l.queue
                     where l.seq > $1 and l.seq <= $8
                       and ($2::text is null or q.rpc = $2)
                       and ($3::uuid is null or l.event_id = $3)
                       and ($4::text is null or l.code = $4)
                       and ($5::interval is null or l.dead_at < clock_timestamp() - $5)
                       and ($6::bigint is null or l.seq = $6)
                     order by l.seq limit $7",
                )
                .bind(self.seen)
                .bind(filter.rpc.as_ref().map(Rpc::as_str))
                .bind(filter.event.map(EventId::as_uuid))
                .bind(&filter.code)
                .bind(filter.older_than.map(interval))
                .bind(id)
                .bind(LETTERS_PER_PAGE)
                .bind(newest),
            )
            .await?;
        self.seen = rows.last().map_or(i64::MAX, |row| row.0);
        let letters =
            rows.into_iter().filter_map(|(seq, rpc, event, body, attempts, code, reason, dead_at)| {
                Some(Letter {
                    id: seq.to_string(),
                    handle: seq,
                    rpc: Rpc::new(&rpc)?,
                    event: Some(event.into()),
                    attempts: Some(attempts),
                    code,
                    reason,
                    dead_at,
                    body,
                })
            });
        Ok(letters.collect())
    }

    /// One statement: it is in one of the tables at any time. It is a new delivery, with a seq and a time of its own:
    /// what is older than 14 days would die again at once.
    async fn redrive(&self, letter: &Letter<i64>) -> Result<Redriven, Stopped> {
        let moved: Result<Vec<(i32,)>, String> = self
            .database
            .all_or_refused(
                query_as(
                    "with taken as (
                         delete from outbox.dead_letter where seq = $1 returning queue, event_id, body
                     ), moved as (
                         insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
                         select nextval('outbox.delivery_seq'), queue, event_id, body, clock_timestamp(), 0,
                                clock_timestamp(), 'redrive', 'delivered again by `outbox dlq redrive`'
                         from taken
                         returning queue
                     ), rung as (
                         select m.queue, pg_notify('outbox_delivery', m.queue::text) from moved as m
                     )
                     select queue from rung",
                )
                .bind(letter.handle),
            )
            .await?;
        Ok(match moved {
            Ok(moved) if moved.is_empty() => Redriven::Gone,
            Ok(_) => Redriven::Moved,
            Err(refused) => Redriven::Refused(refused),
        })
    }

    async fn take_away(&self, letter: &Letter<i64>) -> Result<bool, Stopped> {
        let delete = query("delete from outbox.dead_letter where seq = $1").bind(letter.handle);
        Ok(self.database.execute(delete).await? > 0)
    }

    /// Nothing was hidden.
    async fn put_back(&mut self) {
        (self.seen, self.newest) = (0, None);
    }
}

impl Audit for Postgres {
    async fn keep(&self, repair: &Repair) -> Result<(), Stopped> {
        let keep = query(
            "insert into outbox.audit (id, at, who, command, result) values ($1, $2, $3, $4, $5)
             on conflict (id) do update set result = excluded.result",
        )
        .bind(repair.id)
        .bind(repair.at)
        .bind(&repair.who)
        .bind(&repair.command)
        .bind(&repair.result);
        self.database.execute(keep).await.map(|_| ())
    }

    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, Stopped> {
        let read =
            query_as("select at, who, role, command, result from outbox.audit order by at desc limit $1")
                .bind(i64::from(limit));
        let rows: Vec<(At, String, String, String, Option<String>)> = self.database.all(read).await?;
        let kept = rows.into_iter().map(|(at, who, role, command, result)| Kept {
            source: self.database.name().to_owned(),
            at,
            who,
            role: Some(role),
            command,
            result: result.and_then(|result| serde_json::from_str(&result).ok()),
        });
        Ok(kept.collect())
    }
}
