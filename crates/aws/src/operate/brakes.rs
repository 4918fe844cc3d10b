//! Pauses and limits, for an operator.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use chrono::{DateTime, TimeDelta, Utc};
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, OperateError, Repair, SetBrake, SetBrakes};
use outbox_transport::{BRAKE_MAX, Brake, BrakeKind, WHY_CHARS_MAX};

use super::{AwsOperator, trouble};
use crate::Failure;
use crate::dynamodb::{BrakeValue, brake_attribute, brakes_key, brakes_of};

/// The item outlives every brake in it.
const KEPT: TimeDelta = TimeDelta::days(14);

impl SetBrakes for AwsOperator {
    async fn brakes(&self) -> Result<Vec<SetBrake>, OperateError> {
        let key = brakes_key(&self.prefix);
        let items = self.items_of(std::slice::from_ref(&key)).await?;
        let Some(item) = items.get(&key) else { return Ok(Vec::new()) };
        let at = |millis: i64| At::from(DateTime::from_timestamp_millis(millis).unwrap_or_default());
        let set = brakes_of(item, self.clock.now()).into_iter().map(|(rpc, brake, value)| SetBrake {
            rpc,
            brake,
            since: at(value.since),
            until: at(value.until),
            who: value.who,
            why: value.why,
        });
        Ok(set.collect())
    }

    async fn brake(
        &self,
        repair: &Repair,
        rpc: &Rpc,
        brake: Brake,
        time: Duration,
        why: &str,
    ) -> Result<(), OperateError> {
        if time.is_zero() || time > BRAKE_MAX {
            return Err(OperateError::failed(
                "a pause or a limit lasts 2 days at most",
                "pass a time above zero, and 2 days at most",
            ));
        }
        let (now, (concurrency, rate_per_second)) = (self.clock.now(), brake.limits());
        let value = BrakeValue {
            concurrency,
            rate_per_second,
            since: now.timestamp_millis(),
            until: (now + time).timestamp_millis(),
            who: repair.who.clone(),
            why: why.chars().take(WHY_CHARS_MAX).collect(),
        };
        let value = serde_json::to_string(&value).unwrap_or_default();
        self.change_brakes("set #brake = :brake, expires_at = :expires_at", rpc, brake.kind(), Some(value))
            .await
            .map(|_| ())
    }

    async fn lift(&self, _: &Repair, rpc: &Rpc, kind: BrakeKind) -> Result<bool, OperateError> {
        self.change_brakes("remove #brake set expires_at = :expires_at", rpc, kind, None).await
    }
}

impl AwsOperator {
    /// Returns whether the brake was set before and had not ended.
    async fn change_brakes(
        &self,
        change: &str,
        rpc: &Rpc,
        kind: BrakeKind,
        value: Option<String>,
    ) -> Result<bool, OperateError> {
        let mut update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(brakes_key(&self.prefix)))
            .update_expression(change)
            .expression_attribute_names("#brake", brake_attribute(kind, rpc))
            .expression_attribute_values(
                ":expires_at",
                AttributeValue::N((Utc::now() + KEPT).timestamp().to_string()),
            )
            .return_values(ReturnValue::AllOld);
        if let Some(value) = value {
            update = update.expression_attribute_values(":brake", AttributeValue::S(value));
        }
        let answer = update.send().await.map_err(|error| trouble("DynamoDB", &Failure::of(&error)))?;
        let before = brakes_of(&answer.attributes.unwrap_or_default(), self.clock.now());
        Ok(before.iter().any(|(of, brake, _)| of == rpc.as_str() && brake.kind() == kind))
    }
}
