//! The dedup record on DynamoDB: one item per event and RPC.
//!
//! An item is `leased` until a time, `done`, `failed` or `dead`. A `failed` or `dead` item has no lease and records the last
//! attempt, for operators. A `failed` item may have a time before which no worker calls. DynamoDB removes an item some time
//! after `expires_at`, so every condition checks that time itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::Utc;
use futures_util::future::join_all;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{
    DEDUP_WINDOW, Dedup, DedupError, Lease, LeaseAnswer, Poison, Recorded, Released, Unsettled,
};

use crate::Failure;

const LEASE_TRIES_MAX: u32 = 3;
const LEASE_AGAIN_AFTER: Duration = Duration::from_millis(50);
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

const RELEASE: &str = "set #state = :state, #attempt = :attempt, #code = :code, #error = :error, at_ms = :now, expires_at = :expires_at";

type Item = HashMap<String, AttributeValue>;

/// The record of one RPC, in a table that all RPCs share.
#[derive(Debug, Clone)]
pub struct DynamoDedup {
    client: Client,
    table: String,
    rpc: String,
    lease: Duration,
}

impl DynamoDedup {
    pub fn new(client: Client, table: &str, rpc: &Rpc, lease: Duration) -> Self {
        Self { client, table: table.to_owned(), rpc: rpc.as_str().to_owned(), lease }
    }

    fn id(&self, event: EventId) -> AttributeValue {
        AttributeValue::S(format!("{event} {}", self.rpc))
    }

    /// A failed request may have taken effect. It is repeated with the same token, by which its own lease is recognized.
    async fn lease_one(&self, event: EventId) -> Result<LeaseAnswer, DedupError> {
        let token = fastrand::i64(..);
        let mut tries = 1;
        loop {
            match self.try_lease(event, token).await {
                Err(error) if tries == LEASE_TRIES_MAX => return Err(error),
                Err(_) => tries += 1,
                answered => return answered,
            }
            tokio::time::sleep(LEASE_AGAIN_AFTER.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Wins if the item is absent or expired, or its lease has ended. Otherwise the item gives the answer.
    async fn try_lease(&self, event: EventId, token: i64) -> Result<LeaseAnswer, DedupError> {
        let now = Utc::now().timestamp_millis();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("id", self.id(event))
            .item("state", text("leased"))
            .item("token", number(token))
            .item("leased_until_ms", number(now + millis(self.lease)))
            .item("at_ms", number(now))
            .item("expires_at", number((now + millis(DEDUP_WINDOW)) / 1000))
            .condition_expression(
                "attribute_not_exists(id) or expires_at < :now_seconds or #state = :dead \
                 or (#state = :failed and (attribute_not_exists(not_before_ms) or not_before_ms <= :now_ms)) \
                 or (#state = :leased and leased_until_ms < :now_ms)",
            )
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":dead", text("dead"))
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":leased", text("leased"))
            .expression_attribute_values(":now_ms", number(now))
            .expression_attribute_values(":now_seconds", number(now / 1000))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(answer) => Ok(won(Lease { event, token }, answer.attributes())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(there)) => {
                    Ok(self.answer_of(there.item(), token, event, now))
                }
                _ => Err(failed(Failure::of(&error))),
            },
        }
    }

    fn answer_of(&self, there: Option<&Item>, token: i64, event: EventId, now: i64) -> LeaseAnswer {
        let Some(there) = there else { return LeaseAnswer::Held { remaining: self.lease } };
        if is_done(there) {
            return LeaseAnswer::Done;
        }
        // An earlier try won, and its answer was lost.
        if read(there, "token") == Some(token) {
            return LeaseAnswer::Won(Lease { event, token });
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

    /// `false` if another worker has the lease. A record that is gone or already done counts as a success.
    async fn complete_one(&self, lease: Lease) -> Result<bool, Failure> {
        let now = Utc::now().timestamp_millis();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", self.id(lease.event))
            .update_expression(
                "set #state = :done, #token = :token, expires_at = :expires_at, at_ms = :now remove leased_until_ms",
            )
            .condition_expression("attribute_not_exists(id) or #token = :token")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":done", text("done"))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":token", number(lease.token))
            .expression_attribute_values(":expires_at", number((now + millis(DEDUP_WINDOW)) / 1000))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(there)) => {
                    Ok(there.item().is_some_and(is_done))
                }
                _ => Err(Failure::of(&error)),
            },
        }
    }

    async fn release_one(&self, released: &Released) -> Result<(), Failure> {
        let (code, error) = released.outcome.failure().unwrap_or_default();
        let state = if released.outcome.dead().is_some() { "dead" } else { "failed" };
        let now = Utc::now().timestamp_millis();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", self.id(released.lease.event))
            .condition_expression("#token = :token and #state = :leased")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#attempt", "attempt")
            .expression_attribute_names("#code", "code")
            .expression_attribute_names("#error", "error")
            .expression_attribute_values(":leased", text("leased"))
            .expression_attribute_values(":state", text(state))
            .expression_attribute_values(":token", number(released.lease.token))
            .expression_attribute_values(":attempt", number(released.attempt.into()))
            .expression_attribute_values(":code", text(code))
            .expression_attribute_values(":error", text(error))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":expires_at", number((now + millis(DEDUP_WINDOW)) / 1000));
        let update = match released.waits {
            Some(wait) => update
                .update_expression(format!("{RELEASE}, not_before_ms = :not_before remove leased_until_ms"))
                .expression_attribute_values(":not_before", number(now + millis(wait))),
            None => update.update_expression(format!("{RELEASE} remove leased_until_ms")),
        };
        match update.send().await {
            Ok(_) => Ok(()),
            // Another worker has the lease by now, or the record is done.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(Failure::of(&error)),
        }
    }
}

impl Dedup for DynamoDedup {
    async fn lease(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        let mut seen = HashSet::new();
        let firsts: Vec<EventId> = events.iter().copied().filter(|event| seen.insert(*event)).collect();
        let mut answers = join_all(firsts.iter().map(|event| self.lease_one(*event))).await;
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
        let answers = join_all(leases.iter().map(|lease| self.complete_one(*lease))).await;
        // Two leases of one event may both have succeeded: one record is enough.
        let completed = leases.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(true)));
        let done: HashSet<EventId> = completed.map(|(lease, _)| lease.event).collect();
        let recorded = |(lease, answer): (&Lease, Result<bool, Failure>)| match answer {
            _ if done.contains(&lease.event) => Ok(Recorded::Written),
            Ok(_) => Ok(Recorded::Lost),
            Err(failure) => Err(failure.into()),
        };
        leases.iter().zip(answers).map(recorded).collect()
    }

    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        let answers = join_all(released.iter().map(|one| self.release_one(one))).await;
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

/// Receives during a wait that the queue could not hold were no attempts, so the item has the number of attempts.
fn won(lease: Lease, before: Option<&Item>) -> LeaseAnswer {
    let made = before
        .filter(|item| item.contains_key("not_before_ms"))
        .and_then(|item| u32::try_from(read(item, "attempt")?).ok());
    made.map_or(LeaseAnswer::Won(lease), |made| LeaseAnswer::WonAfter(lease, made))
}

fn is_done(item: &Item) -> bool {
    item.get("state").and_then(|state| state.as_s().ok()).is_some_and(|state| state == "done")
}

fn read(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn failed(failure: Failure) -> DedupError {
    DedupError(Box::new(failure))
}
