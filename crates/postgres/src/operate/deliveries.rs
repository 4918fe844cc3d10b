//! What became of one event, in the queues' tables and the dedup record.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, COUNT_LIMIT, Count, Deliveries, Delivery, OperateError, Repair, State};
use sqlx::query_as;
use uuid::Uuid;

use super::queues::PostgresOperator;
use crate::interval;
use crate::operate::search::{Seqs, known, narrow};

/// Deliveries and their cursor are written by one transaction, which takes seconds at most.
const BEFORE_THE_CURSOR: TimeDelta = TimeDelta::seconds(15);
const AFTER_THE_CURSOR: TimeDelta = TimeDelta::seconds(2);

impl Deliveries for PostgresOperator {
    async fn of(
        &self,
        event: EventId,
        rpcs: &[Rpc],
        put_between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<Vec<Delivery>, OperateError> {
        let (mut found, leased) = self.traced(event).await?;
        if let Some(between) = put_between {
            let (logged, searched) = self.logged(event, between).await?;
            add_unknown(&mut found, logged);
            let lost = |found: &[Delivery]| -> Vec<&str> {
                rpcs.iter().map(Rpc::as_str).filter(|rpc| !is_known(found, rpc)).collect()
            };
            // A clock may have been set, so the times of rows are no proof.
            if !lost(&found).is_empty() {
                let waiting = self.unsettled(event, &lost(&found), searched).await?;
                add_unknown(&mut found, waiting);
            }
            // It may have been moved while this looked.
            if !lost(&found).is_empty() {
                let (moved, leased) = self.traced(event).await?;
                add_unknown(&mut found, moved);
                add_unknown(&mut found, leased);
            }
        }
        // A queue's row has more details than the lease.
        for delivery in leased {
            let shown = |other: &Delivery| {
                other.rpc == delivery.rpc
                    && matches!(
                        other.state,
                        State::Calling { .. } | State::Done { .. } | State::Failed { .. }
                    )
            };
            if !found.iter().any(shown) {
                found.push(delivery);
            }
        }
        for rpc in rpcs {
            if !is_known(&found, rpc.as_str()) {
                found.push(Delivery { rpc: rpc.to_string(), state: State::Absent });
            }
        }
        Ok(found)
    }

    async fn done(&self, pairs: &[(EventId, Rpc)]) -> Result<Vec<bool>, OperateError> {
        let events: Vec<Uuid> = pairs.iter().map(|(event, _)| event.as_uuid()).collect();
        let rpcs: Vec<&str> = pairs.iter().map(|(_, rpc)| rpc.as_str()).collect();
        // The record is asked once for each RPC: its functions are planned anew in each call, which costs ten times as much as
        // finding an id.
        let done = query_as(
            "with k as materialized (
                 select * from unnest($1::uuid[], $2::text[]) with ordinality as k (id, rpc, n)
             ), done as materialized (
                 select g.rpc, r.event_id
                 from (select k.rpc, array_agg(k.id) as ids from k group by k.rpc) as g
                 cross join lateral outbox.recorded(g.rpc, g.ids) as r
                 where r.done_at is not null
             )
             select exists (select from done as d where d.rpc = k.rpc and d.event_id = k.id) from k order by k.n",
        );
        let done: Vec<(bool,)> = self.database.all(done.bind(events).bind(rpcs)).await?;
        Ok(done.into_iter().map(|(done,)| done).collect())
    }

    async fn poison(&self, repair: &Repair, rpc: &Rpc, time: Duration) -> Result<bool, OperateError> {
        let say = query_as("select outbox.poison($1, $2, $3)");
        let said = self.database.one(say.bind(repair.id).bind(rpc.as_str()).bind(interval(time))).await?;
        Ok(said.is_some_and(|(known,)| known))
    }
}

impl PostgresOperator {
    /// Deliveries with a row of their own or a record, and leases.
    async fn traced(&self, event: EventId) -> Result<(Vec<Delivery>, Vec<Delivery>), OperateError> {
        let mut found = self.dead(event).await?;
        found.extend(self.retried(event).await?);
        let (done, leased) = self.recorded(event).await?;
        found.extend(done);
        let dropped = self.dropped(event).await?;
        add_unknown(&mut found, dropped);
        Ok((found, leased))
    }

    async fn dropped(&self, event: EventId) -> Result<Vec<Delivery>, OperateError> {
        let dropped = query_as(
            "select distinct on (q.rpc) q.rpc, d.at, a.who
             from outbox.dropped as d join outbox.audit as a on a.id = d.repair join outbox.queue_name as q on q.id = d.queue
             where d.event_id = $1 order by q.rpc, d.at desc",
        );
        let rows: Vec<(String, At, String)> = self.database.all(dropped.bind(event.as_uuid())).await?;
        let dropped =
            rows.into_iter().map(|(rpc, at, by)| Delivery { rpc, state: State::Dropped { at, by } });
        Ok(dropped.collect())
    }

    async fn dead(&self, event: EventId) -> Result<Vec<Delivery>, OperateError> {
        let dead = query_as(
            "select q.rpc, l.attempts, l.code, l.reason, l.dead_at
             from outbox.dead_letter as l join outbox.queue as q on q.id = l.queue
             where l.event_id = $1 order by l.seq",
        );
        let rows: Vec<(String, i32, String, String, At)> =
            self.database.all(dead.bind(event.as_uuid())).await?;
        let dead = rows.into_iter().map(|(rpc, attempts, code, reason, at)| Delivery {
            rpc,
            state: State::Dead { at: Some(at), attempts: Some(attempts), code, reason },
        });
        Ok(dead.collect())
    }

    /// Deliveries with a row of their own: attempted before, sent by hand, or evicted.
    async fn retried(&self, event: EventId) -> Result<Vec<Delivery>, OperateError> {
        type Row = (String, i32, At, bool, bool, String, String, At, At);
        let retried = query_as(
            "select q.rpc, r.attempts, r.due_at, r.token is not null, r.due_at > clock_timestamp(),
                    r.last_code, r.last_error, r.failed_at, r.enqueued_at
             from outbox.retry as r join outbox.queue as q on q.id = r.queue
             where r.event_id = $1 order by r.seq",
        );
        let rows: Vec<Row> = self.database.all(retried.bind(event.as_uuid())).await?;
        let states =
            rows.into_iter().map(|(rpc, attempts, due_at, claimed, later, code, error, at, since)| {
                let state = match (claimed, later, attempts) {
                    (true, true, _) => {
                        State::Calling { worker: None, until: due_at, attempt: Some(attempts) }
                    }
                    (true, false, _) => State::Abandoned { worker: None, until: due_at },
                    (false, false, 0) => State::Queued { since, ahead: None, why: Some(error) },
                    (false, ..) => State::Failed { attempt: attempts, at, code, error, due_at: Some(due_at) },
                };
                Delivery { rpc, state }
            });
        Ok(states.collect())
    }

    /// Successes, and leases.
    async fn recorded(&self, event: EventId) -> Result<(Vec<Delivery>, Vec<Delivery>), OperateError> {
        // As outbox.recorded, whose plans for each RPC would take a hundred times as long. A success is final, whatever other
        // records there are.
        let recorded = query_as(
            "with lease as materialized (
                 select d.rpc, d.until, d.done_at from outbox.dedup as d
                 where d.slot = outbox.dedup_slot($1) and d.event_id = $1
             ), receipt as materialized (
                 select p.rpc, r.done_at from (select rpc from outbox.queue union select rpc from lease) as p
                 cross join lateral (
                     select r.done_at, r.ids from outbox.receipt as r
                     where r.slot = outbox.dedup_slot($1) and r.rpc = p.rpc
                       and r.last_id between $1 and outbox.minute_end($1) and r.first_id <= $1 offset 0) as r
                 where $1 = any (r.ids)
             )
             select distinct on (r.rpc) r.rpc, r.until, r.done_at, r.until > clock_timestamp()
             from (select rpc, until, done_at from lease union all select rpc, null, done_at from receipt) as r
             order by r.rpc, r.done_at",
        );
        let rows: Vec<(String, Option<At>, Option<At>, Option<bool>)> =
            self.database.all(recorded.bind(event.as_uuid())).await?;
        let (mut done, mut leased) = (Vec::new(), Vec::new());
        for (rpc, until, done_at, live) in rows {
            match done_at {
                Some(at) => done.push(Delivery { rpc, state: State::Done { at: Some(at) } }),
                None => {
                    let calling = |until| State::Calling { worker: None, until, attempt: None };
                    let state = until.filter(|_| live == Some(true)).map(calling);
                    leased.extend(state.map(|state| Delivery { rpc, state }));
                }
            }
        }
        Ok((done, leased))
    }

    /// The log has no index on events, so it is searched around the time of the put. A received and settled delivery has no
    /// other trace in it.
    async fn logged(
        &self,
        event: EventId,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(Vec<Delivery>, Option<Seqs>), OperateError> {
        let Some(all) = self.log().await? else { return Ok((Vec::new(), None)) };
        let from = first.checked_sub_signed(BEFORE_THE_CURSOR).unwrap_or(first);
        let to = last.checked_add_signed(AFTER_THE_CURSOR).unwrap_or(last);
        let seqs = narrow(all, from, to, |seqs| self.log_times(seqs)).await?;
        let logged = query_as(LOGGED).bind(seqs.first).bind(seqs.last).bind(event.as_uuid());
        let logged = self.database.all(logged.bind(COUNT_LIMIT).bind(None::<Vec<&str>>)).await?;
        Ok((logged_states(logged), Some(seqs)))
    }

    /// Looks through everything that waits, or is claimed, in these queues, and was not searched before.
    async fn unsettled(
        &self,
        event: EventId,
        rpcs: &[&str],
        searched: Option<Seqs>,
    ) -> Result<Vec<Delivery>, OperateError> {
        let first = query_as(
            "select min(least(head.seq + 1, (select min(c.first_seq) from outbox.claim as c
                                             where c.queue = head.queue and c.until is not null)))
             from outbox.queue_head as head where head.rpc = any ($1)",
        );
        let first: Option<(Option<i64>,)> = self.database.one(first.bind(rpcs)).await?;
        let Some((first, log)) = first.and_then(|(first,)| first).zip(self.log().await?) else {
            return Ok(Vec::new());
        };
        let first = match searched {
            Some(searched) if (searched.first..=searched.last).contains(&first) => searched.last + 1,
            _ => first,
        };
        if first > log.last {
            return Ok(Vec::new());
        }
        let logged = query_as(LOGGED).bind(first).bind(log.last).bind(event.as_uuid());
        Ok(logged_states(self.database.scan(logged.bind(COUNT_LIMIT).bind(rpcs)).await?))
    }

    async fn log(&self) -> Result<Option<Seqs>, OperateError> {
        let ends: Option<(Option<i64>, Option<i64>)> = self
            .database
            .one(query_as(
                "select (select seq from outbox.delivery order by seq limit 1),
                        (select seq from outbox.delivery order by seq desc limit 1)",
            ))
            .await?;
        Ok(ends.and_then(|(first, last)| Some(Seqs { first: first?, last: last? })))
    }

    async fn log_times(&self, seqs: Vec<i64>) -> Result<Vec<(i64, DateTime<Utc>)>, OperateError> {
        let times = query_as(
            "select d.seq, d.enqueued_at from unnest($1::bigint[]) with ordinality as k (seq, n)
             cross join lateral (
                 select d.seq, d.enqueued_at from outbox.delivery as d where d.seq >= k.seq order by d.seq limit 1) as d
             order by k.n",
        );
        Ok(known(self.database.all(times.bind(seqs)).await?))
    }
}

type Logged = (String, At, bool, i64, Option<String>, Option<At>, bool);

const LOGGED: &str = "select head.rpc, d.enqueued_at, d.seq > head.seq, ahead.count, c.worker, c.until,
            coalesce(c.until > clock_timestamp(), false)
     from outbox.delivery as d
     join outbox.queue_head as head on head.queue = d.queue
     cross join lateral (
         select count(*) from (
             select from outbox.delivery as a
             where a.queue = d.queue and a.seq > head.seq and a.seq < d.seq limit $4) as a
     ) as ahead
     left join lateral (
         select c.worker, c.until from outbox.claim as c
         where c.queue = d.queue and c.until is not null and d.seq between c.first_seq and c.last_seq
         order by c.id desc limit 1
     ) as c on true
     where d.seq between $1 and $2 and d.event_id = $3 and ($5::text[] is null or head.rpc = any ($5))
     order by d.seq";

fn logged_states(rows: Vec<Logged>) -> Vec<Delivery> {
    let states = rows.into_iter().filter_map(|(rpc, since, waits, ahead, worker, until, live)| {
        let state = match until {
            _ if waits => State::Queued { since, ahead: Some(Count::new(ahead)), why: None },
            Some(until) if live => State::Calling { worker, until, attempt: Some(1) },
            Some(until) => State::Abandoned { worker, until },
            None => return None,
        };
        Some(Delivery { rpc, state })
    });
    states.collect()
}

fn is_known(found: &[Delivery], rpc: &str) -> bool {
    found.iter().any(|delivery| delivery.rpc == rpc)
}

/// Adds what `more` has of RPCs of which `found` has nothing.
fn add_unknown(found: &mut Vec<Delivery>, more: Vec<Delivery>) {
    let fresh: Vec<Delivery> = more.into_iter().filter(|one| !is_known(found, &one.rpc)).collect();
    found.extend(fresh);
}
