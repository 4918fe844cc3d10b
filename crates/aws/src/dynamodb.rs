//! The dedup record on DynamoDB: one item per event and RPC.
//!
//! An item is `leased` until a time, `done`, `failed` or `dead`. A `failed` or `dead` item has no lease and records the last
//! attempt, for operators. A `failed` item may have a time before which no worker calls. DynamoDB removes an item some time
//! after `expires_at`, so every condition checks that time itself.

mod alone; // one record in one request
mod batch; // 25 records in one request
mod brakes; // pauses and limits of RPCs
mod history; // failed attempts and repairs
mod item; // the attributes of one record
mod kept; // what a worker keeps, within limits
mod process; // the report of this worker
mod roster; // the running workers of the same queues

pub use batch::may_complete_batches;
pub use brakes::BrakesItem;
pub(crate) use brakes::{BrakeValue, brake_attribute, brakes_key, brakes_of};
pub(crate) use item::{ENTRIES, LAST, LEFT_OUT, history_key, rest_key};
pub use process::ProcessItem;
pub(crate) use process::{PREFIX, SILENT_AFTER, WRITTEN, keys, names_key};
pub use roster::{Entry, Roster};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, BatchStatementRequest};
use chrono::Utc;
use futures_util::future::join_all;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{
    DEDUP_WINDOW, Dedup, DedupError, Lease, LeaseAnswer, Poison, Recorded, Released, Unsettled,
};

use crate::Failure;
use batch::{Batches, STATEMENTS_MAX, Said};
use item::{Item, is_done, millis, number, read, text};
use kept::Kept;

const LEASE_TRIES_MAX: u32 = 3;
const LEASE_AGAIN_AFTER: Duration = Duration::from_millis(50);
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// The record of one RPC, in a table that all RPCs share.
#[derive(Debug, Clone)]
pub struct DynamoDedup {
    client: Client,
    table: String,
    rpc: String,
    lease: Duration,
    batches: Arc<Batches>,
    /// The worker's name in the history.
    worker: String,
    kept: Arc<Kept>,
}

impl DynamoDedup {
    pub fn new(client: Client, table: &str, rpc: &Rpc, lease: Duration) -> Self {
        let batches = Arc::new(Batches::new(client.clone(), table, rpc.as_str()));
        let (worker, kept) = (String::new(), Arc::default());
        Self { client, table: table.to_owned(), rpc: rpc.as_str().to_owned(), lease, batches, worker, kept }
    }

    /// With the name that the history has for this worker.
    #[must_use]
    pub fn of_worker(self, name: &str) -> Self {
        Self { worker: name.to_owned(), ..self }
    }

    fn id(&self, event: EventId) -> AttributeValue {
        AttributeValue::S(format!("{event} {}", self.rpc))
    }

    /// Writes a new record for each event. A statement without an answer may have taken effect. It is repeated with the same
    /// token, by which its own lease is recognized.
    async fn lease_batch(&self, events: &[EventId]) -> Vec<Result<LeaseAnswer, DedupError>> {
        let leases: Vec<Lease> =
            events.iter().map(|&event| Lease { event, token: fastrand::i64(..) }).collect();
        let mut answers: Vec<_> = events.iter().map(|_| None).collect();
        let (mut open, mut alone): (Vec<usize>, _) = ((0..leases.len()).collect(), Vec::new());
        for tries in 1..=LEASE_TRIES_MAX {
            let now = Utc::now().timestamp_millis();
            let statements = open.iter().map(|&at| self.claim(leases[at], now)).collect();
            let said = self.batches.ask(statements).await;
            let mut again = Vec::new();
            for (at, said) in open.into_iter().zip(said) {
                answers[at] = match said {
                    Said::Written => Some(Ok(LeaseAnswer::Won(leases[at]))),
                    Said::Failed(there) => self.stands(there.as_ref(), leases[at], now).map(Ok),
                    Said::Refused(_) => None,
                    Said::Unknown(failure) => {
                        again.push(at);
                        Some(Err(failed(failure)))
                    }
                };
                if answers[at].is_none() {
                    alone.push(at);
                }
            }
            open = again;
            if open.is_empty() {
                break;
            }
            if tries < LEASE_TRIES_MAX {
                again_soon().await;
            }
        }
        let asked = join_all(alone.iter().map(|&at| self.lease_one(leases[at]))).await;
        for (at, answer) in alone.into_iter().zip(asked) {
            answers[at] = Some(answer);
        }
        answers.into_iter().flatten().collect()
    }

    fn claim(&self, lease: Lease, now: i64) -> BatchStatementRequest {
        self.batches.claim([
            self.id(lease.event),
            text("leased"),
            number(lease.token),
            number(now + millis(self.lease)),
            number(now),
            number((now + millis(DEDUP_WINDOW)) / 1000),
        ])
    }

    /// The answer of an item that can't be taken over now. `None` if it can be, or is not shown: then a put decides.
    fn stands(&self, there: Option<&Item>, lease: Lease, now: i64) -> Option<LeaseAnswer> {
        let item = there?;
        let lies_ahead = |name| read(item, name).is_some_and(|at| at > now);
        let stands = is_done(item) || lies_ahead("leased_until_ms") || lies_ahead("not_before_ms");
        let is_live = read(item, "expires_at").is_none_or(|at| at >= now / 1000);
        (stands && is_live).then(|| self.answer_of(there, lease, now))
    }

    fn answer_of(&self, there: Option<&Item>, lease: Lease, now: i64) -> LeaseAnswer {
        let Some(there) = there else { return LeaseAnswer::Held { remaining: self.lease } };
        if is_done(there) {
            return LeaseAnswer::Done;
        }
        // An earlier try won, and its answer was lost.
        if read(there, "token") == Some(lease.token) {
            return LeaseAnswer::Won(lease);
        }
        let remaining = |name| {
            let until = read(there, name).unwrap_or(now);
            Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
        };
        match there.contains_key("not_before_ms") {
            true => LeaseAnswer::Early { remaining: remaining("not_before_ms") },
            false => LeaseAnswer::Held { remaining: remaining("leased_until_ms") },
        }
    }

    /// `false` if another worker has the lease. If a record is gone, a single request decides.
    async fn complete_batch(&self, leases: Vec<Lease>) -> Vec<Result<bool, Failure>> {
        let now = Utc::now().timestamp_millis();
        let (at, expires_at) = (number(now), number((now + millis(DEDUP_WINDOW)) / 1000));
        let completes = |lease: &Lease| {
            let (id, token) = (self.id(lease.event), number(lease.token));
            self.batches.complete([text("done"), at.clone(), expires_at.clone(), id, token])
        };
        let said = self.batches.ask(leases.iter().map(completes).collect()).await;
        join_all(leases.into_iter().zip(said).map(|(lease, said)| self.completed(lease, said))).await
    }

    async fn completed(&self, lease: Lease, said: Said) -> Result<bool, Failure> {
        match said {
            Said::Written => Ok(true),
            Said::Failed(Some(there)) => Ok(is_done(&there)),
            Said::Unknown(failure) => Err(failure),
            Said::Failed(None) | Said::Refused(_) => self.complete_one(lease).await,
        }
    }
}

impl Dedup for DynamoDedup {
    async fn lease(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        let mut seen = HashSet::new();
        let firsts: Vec<EventId> = events.iter().copied().filter(|event| seen.insert(*event)).collect();
        let batches = firsts.chunks(STATEMENTS_MAX).map(|events| self.lease_batch(events));
        let mut answers: Vec<_> = join_all(batches).await.into_iter().flatten().collect();
        if !answers.is_empty() && answers.iter().all(Result::is_err) {
            return answers.swap_remove(0).map(|_| Vec::new());
        }
        // A failed request must not cost the others their leases, which are written.
        let unknown = |error: DedupError| {
            tracing::warn!(rpc = self.rpc, error = %outbox_runtime::Chain(&error), "not calling: can't ask whether it was done before");
            LeaseAnswer::Held { remaining: UNKNOWN_WAIT }
        };
        let answers = answers.into_iter().map(|answer| answer.unwrap_or_else(unknown));
        let mut given: HashMap<EventId, LeaseAnswer> = firsts.into_iter().zip(answers).collect();
        // A second copy in the same batch counts as held by the first. If both had asked, either might have won.
        let after = |answer| match answer {
            LeaseAnswer::Won(_) | LeaseAnswer::WonAfter(..) => LeaseAnswer::Held { remaining: self.lease },
            other => other,
        };
        let answer = |event| given.get_mut(event).map(|answer| std::mem::replace(answer, after(*answer)));
        Ok(events.iter().filter_map(answer).collect())
    }

    async fn complete(&self, leases: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        let batches = batches_of(leases);
        let batch = |places: &Vec<usize>| places.iter().map(|&at| leases[at]).collect();
        let asked = batches.iter().map(|places| self.complete_batch(batch(places)));
        let answers = join_all(asked).await.into_iter().flatten();
        let mut answers: Vec<_> = batches.iter().flatten().copied().zip(answers).collect();
        answers.sort_unstable_by_key(|(at, _)| *at);
        // Two leases of one event may both have succeeded: one record is enough.
        let completed = answers.iter().filter(|(_, answer)| matches!(answer, Ok(true)));
        let done: HashSet<EventId> = completed.map(|(at, _)| leases[*at].event).collect();
        let recorded = |(at, answer): (usize, Result<bool, Failure>)| match answer {
            _ if done.contains(&leases[at].event) => Ok(Recorded::Written),
            Ok(_) => Ok(Recorded::Lost),
            Err(failure) => Err(failure.into()),
        };
        answers.into_iter().map(recorded).collect()
    }

    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        let answers = join_all(released.iter().map(|one| self.release_one(one))).await;
        for (one, _) in released.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            self.keep(one);
        }
        answers.into_iter().map(|answer| answer.map_err(Unsettled::from)).collect()
    }
}

impl Poison for DynamoDedup {
    async fn poison_for(&self) -> Result<Option<Duration>, DedupError> {
        let key = AttributeValue::S(format!("poison {}", self.rpc));
        let get = self.client.get_item().table_name(&self.table).key("id", key).consistent_read(true);
        let answer = get.send().await.map_err(|error| failed(Failure::of(&error)))?;
        let until = answer.item().and_then(|item| read(item, "until_ms")).unwrap_or_default();
        let left = u64::try_from(until - Utc::now().timestamp_millis()).unwrap_or_default();
        Ok((left > 0).then(|| Duration::from_millis(left)))
    }
}

/// The places of each batch. No batch has an item twice, because DynamoDB may refuse such a batch as a whole.
fn batches_of(leases: &[Lease]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for (at, lease) in leases.iter().enumerate() {
        let has_room = |batch: &&mut Vec<usize>| {
            batch.len() < STATEMENTS_MAX && batch.iter().all(|&other| leases[other].event != lease.event)
        };
        match batches.iter_mut().find(has_room) {
            Some(batch) => batch.push(at),
            None => batches.push(vec![at]),
        }
    }
    batches
}

async fn again_soon() {
    tokio::time::sleep(LEASE_AGAIN_AFTER.mul_f64(0.5 + fastrand::f64())).await;
}

fn failed(failure: Failure) -> DedupError {
    DedupError(Box::new(failure))
}
