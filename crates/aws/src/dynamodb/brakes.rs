//! What operators set for the RPCs of one installation: one item of the dedup table, with an attribute for each brake. So one
//! small request reads all of them, every few seconds in each worker.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, Utc};
use outbox_transport::{Brake, BrakeKind, Braked, Brakes, BrakesError};
use serde::{Deserialize, Serialize};

use super::item::{Item, text};
use crate::Failure;

const READ_WITHIN: Duration = Duration::from_secs(3);

/// The key of the item. Installations with other queues may have the same table.
pub(crate) fn brakes_key(queue_prefix: &str) -> String {
    format!("brakes {queue_prefix}")
}

/// The attribute of a brake.
pub(crate) fn brake_attribute(kind: BrakeKind, rpc: impl std::fmt::Display) -> String {
    format!("{} {rpc}", kind.as_str())
}

/// The value of a brake's attribute, as JSON. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BrakeValue {
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate_per_second: Option<u32>,
    pub(crate) since: i64,
    pub(crate) until: i64,
    pub(crate) who: String,
    pub(crate) why: String,
}

/// The brakes of an item that have not ended, by RPC. Whatever can't be read is left out.
pub(crate) fn brakes_of(item: &Item, now: DateTime<Utc>) -> Vec<(String, Brake, BrakeValue)> {
    let mut all: Vec<_> = item
        .iter()
        .filter_map(|(name, value)| {
            let (kind, rpc) = name.split_once(' ')?;
            let value: BrakeValue = serde_json::from_str(value.as_s().ok()?).ok()?;
            let brake = Brake::parse(kind, value.concurrency, value.rate_per_second)?;
            (value.until > now.timestamp_millis()).then(|| (rpc.to_owned(), brake, value))
        })
        .collect();
    all.sort_by(|(one, brake, _), (other, brake_of_other, _)| {
        (one, brake_of_other.kind().as_str()).cmp(&(other, brake.kind().as_str()))
    });
    all
}

/// The item, as workers read it.
#[derive(Debug, Clone)]
pub struct BrakesItem {
    client: Client,
    table: String,
    key: String,
}

impl BrakesItem {
    pub fn new(client: Client, table: &str, queue_prefix: &str) -> Self {
        Self { client, table: table.to_owned(), key: brakes_key(queue_prefix) }
    }
}

impl Brakes for BrakesItem {
    async fn brakes(&self) -> Result<Vec<Braked>, BrakesError> {
        let get = self.client.get_item().table_name(&self.table).key("id", text(&self.key));
        let get = Box::pin(get.consistent_read(true).send());
        let answer = tokio::time::timeout(READ_WITHIN, get).await.map_err(BrakesError::new)?;
        let answer = answer.map_err(|error| BrakesError::new(Failure::of(&error)))?;
        let now = Utc::now();
        let braked = brakes_of(answer.item().unwrap_or(&Item::new()), now).into_iter().map(
            |(rpc, brake, BrakeValue { until, .. })| {
                let left = u64::try_from(until - now.timestamp_millis()).unwrap_or_default();
                Braked { rpc, brake, left: Duration::from_millis(left) }
            },
        );
        Ok(braked.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: brakes are read by RPC, a pause before a limit. One that has ended, and one that can't be read, are
    /// none.
    #[test]
    fn brakes_are_read() {
        let now = DateTime::from_timestamp_millis(1000).unwrap();
        let value = |until| BrakeValue { until, who: "me".into(), why: "it".into(), ..BrakeValue::default() };
        let json = |value: &BrakeValue| text(&serde_json::to_string(value).unwrap());
        let limited = BrakeValue { concurrency: Some(2), ..value(2000) };
        let item = Item::from([
            ("id".to_owned(), text("brakes outbox-")),
            (brake_attribute(BrakeKind::Limit, "A/B"), json(&limited)),
            (brake_attribute(BrakeKind::Pause, "A/B"), json(&value(1001))),
            (brake_attribute(BrakeKind::Pause, "C/D"), json(&value(1000))),
            (brake_attribute(BrakeKind::Limit, "C/D"), text("odd")),
            ("later E/F".to_owned(), json(&value(2000))),
        ]);
        let limit = Brake::Limit { concurrency: Some(2), rate_per_second: None };
        let expected =
            vec![("A/B".to_owned(), Brake::Pause, value(1001)), ("A/B".to_owned(), limit, limited)];
        assert_eq!(brakes_of(&item, now), expected);
    }
}
