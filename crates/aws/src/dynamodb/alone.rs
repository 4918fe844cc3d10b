//! One record per request: for cases that no batch decides, and for leases that are given back.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::Utc;
use outbox_transport::{DEDUP_WINDOW, DedupError, Lease, LeaseAnswer, Released};

use super::item::{Item, is_done, millis, number, read, text};
use super::{DynamoDedup, LEASE_TRIES_MAX, again_soon, failed};
use crate::Failure;

const RELEASE: &str = "set #state = :state, #attempt = :attempt, #code = :code, #error = :error, at_ms = :now, expires_at = :expires_at";

impl DynamoDedup {
    /// A failed request may have taken effect. It is repeated with the same token, by which its own lease is recognized.
    pub(super) async fn lease_one(&self, lease: Lease) -> Result<LeaseAnswer, DedupError> {
        let mut tries = 1;
        loop {
            match self.try_lease(lease).await {
                Err(error) if tries == LEASE_TRIES_MAX => return Err(error),
                Err(_) => tries += 1,
                answered => return answered,
            }
            again_soon().await;
        }
    }

    /// Wins if the item is absent or expired, or its lease has ended. Otherwise the item gives the answer.
    async fn try_lease(&self, lease: Lease) -> Result<LeaseAnswer, DedupError> {
        let now = Utc::now().timestamp_millis();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("id", self.id(lease.event))
            .item("state", text("leased"))
            .item("token", number(lease.token))
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
            Ok(answer) => Ok(won(lease, answer.attributes())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(there)) => {
                    Ok(self.answer_of(there.item(), lease, now))
                }
                _ => Err(failed(Failure::of(&error))),
            },
        }
    }

    /// `false` if another worker has the lease. A record that is gone or already done counts as a success.
    pub(super) async fn complete_one(&self, lease: Lease) -> Result<bool, Failure> {
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

    pub(super) async fn release_one(&self, released: &Released) -> Result<(), Failure> {
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

/// Receives during a wait that the queue could not hold were no attempts, so the item has the number of attempts.
fn won(lease: Lease, before: Option<&Item>) -> LeaseAnswer {
    let made = before
        .filter(|item| item.contains_key("not_before_ms"))
        .and_then(|item| u32::try_from(read(item, "attempt")?).ok());
    made.map_or(LeaseAnswer::Won(lease), |made| LeaseAnswer::WonAfter(lease, made))
}
