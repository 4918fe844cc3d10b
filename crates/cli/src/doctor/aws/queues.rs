use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use futures_util::StreamExt;
use outbox_aws::Failure;
use outbox_event_router::{Policy, Router, Rpc, names};
use outbox_transport::DEDUP_WINDOW;
use serde_json::Value;

use super::unseen::{TOGETHER, unseen};
use crate::doctor::diagnosis::Diagnosis;
use crate::show::counted;

const DAY_SECONDS: i64 = 24 * 60 * 60;
const VISIBILITY_SECONDS_MIN: i64 = 10;
const APPLY: &str = "`terraform apply` makes it; see --queue-prefix, AWS_REGION and the account";
const LOOK: &str = "sqs:GetQueueUrl, sqs:GetQueueAttributes";

pub(super) struct Sqs<'a> {
    client: Client,
    prefix: &'a str,
}

/// An RPC's queue that exists.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) policy: Option<Value>,
}

type Attributes = HashMap<Name, String>;

impl<'a> Sqs<'a> {
    pub(super) fn new(client: Client, prefix: &'a str) -> Self {
        Self { client, prefix }
    }

    fn undeliverable(&self) -> String {
        format!("{}-undeliverable", self.prefix.trim_end_matches('-'))
    }

    /// Checks each RPC's queue and dead-letter queue, and the queue of events that EventBridge can't deliver.
    pub(super) async fn look(&self, router: &Router, findings: &mut Vec<Diagnosis>) -> BTreeMap<Rpc, Found> {
        let looked = futures_util::stream::iter(router.rpcs()).map(async |(rpc, policy)| {
            let mut said = Vec::new();
            let found = self.queue(rpc, policy, &mut said).await;
            (rpc.clone(), found, said)
        });
        let mut queues = BTreeMap::new();
        for (rpc, found, said) in looked.buffered(TOGETHER).collect::<Vec<_>>().await {
            findings.extend(said);
            queues.extend(found.map(|found| (rpc, found)));
        }
        let name = self.undeliverable();
        let place = format!("queue {name}");
        findings.push(match self.attributes(&name).await {
            Ok(Some(attributes)) => match number(&attributes, &Name::ApproximateNumberOfMessages).unwrap_or(0) {
                0 => Diagnosis::ok(place, "empty"),
                waiting => Diagnosis::warning(
                    &place,
                    format!("EventBridge could not deliver {}", counted(waiting, "event")),
                    "correct what is wrong with rules and queues, then: outbox replay --since 24h; and purge the queue",
                ),
            },
            Ok(None) => {
                Diagnosis::warning(&place, "there is none: what EventBridge can't deliver would be lost", APPLY)
            }
            Err(failure) => unseen(&place, &failure, LOOK),
        });
        queues
    }

    async fn queue(&self, rpc: &Rpc, policy: &Policy, said: &mut Vec<Diagnosis>) -> Option<Found> {
        let name = names::queue(self.prefix, rpc);
        let (place, dead_name) = (format!("queue {name}"), format!("{name}-dlq"));
        let (live, dead) = tokio::join!(self.attributes(&name), self.attributes(&dead_name));
        let mut known = |place: &str, looked: Result<Option<Attributes>, Failure>| match looked {
            Ok(Some(attributes)) => Some(attributes),
            Ok(None) => {
                said.push(Diagnosis::error(place, format!("there is none, and {rpc} needs it"), APPLY));
                None
            }
            Err(failure) => {
                said.push(unseen(place, &failure, LOOK));
                None
            }
        };
        let (live, dead) = (known(&place, live), known(&format!("queue {dead_name}"), dead));
        let live = live?;
        let before = said.len();
        said.extend(redrive(&place, &live, dead.as_ref(), policy));
        said.extend(dead.as_ref().and_then(|dead| retention(&place, &live, dead)));
        said.extend(visibility(&place, &live));
        if said.len() == before {
            said.push(Diagnosis::ok(&place, "there, with its dead-letter queue"));
        }
        let policy = live.get(&Name::Policy).and_then(|policy| serde_json::from_str(policy).ok());
        Some(Found { name, arn: live.get(&Name::QueueArn).cloned().unwrap_or_default(), policy })
    }

    /// `None` if there is no such queue.
    async fn attributes(&self, name: &str) -> Result<Option<Attributes>, Failure> {
        let absent = |failure: Failure| if failure.is_no_queue() { Ok(None) } else { Err(failure) };
        let url = match self.client.get_queue_url().queue_name(name).send().await {
            Ok(answer) => answer.queue_url.unwrap_or_default(),
            Err(error) => return absent(Failure::of(&error)),
        };
        match self.client.get_queue_attributes().queue_url(url).attribute_names(Name::All).send().await {
            Ok(answer) => Ok(Some(answer.attributes.unwrap_or_default())),
            Err(error) => absent(Failure::of(&error)),
        }
    }

    /// Queues with our prefix that no route needs.
    pub(super) async fn superfluous(&self, router: &Router, findings: &mut Vec<Diagnosis>) {
        let mut needed: BTreeSet<String> = [self.undeliverable()].into();
        for (rpc, _) in router.rpcs() {
            let name = names::queue(self.prefix, rpc);
            needed.extend([format!("{name}-dlq"), name]);
        }
        let mut pages = self
            .client
            .list_queues()
            .queue_name_prefix(self.prefix)
            .max_results(1000)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let urls = match page {
                Ok(page) => page.queue_urls.unwrap_or_default(),
                Err(error) => {
                    findings.push(unseen("queues", &Failure::of(&error), "sqs:ListQueues"));
                    return;
                }
            };
            let names = urls.iter().filter_map(|url| url.rsplit('/').next());
            findings.extend(names.filter(|name| !needed.contains(*name)).map(|name| {
                Diagnosis::warning(
                    &format!("queue {name}"),
                    "no route of event_router.yaml needs it: no worker receives from it",
                    "`terraform apply` removes it, with what lies in it; or is the router an old one?",
                )
            }));
        }
    }
}

/// SQS itself moves messages that kill workers. It must not be quicker than the worker, which records the reason.
fn redrive(place: &str, live: &Attributes, dead: Option<&Attributes>, policy: &Policy) -> Option<Diagnosis> {
    let redrive: Value = live.get(&Name::RedrivePolicy).and_then(|text| serde_json::from_str(text).ok())?;
    let target = redrive["deadLetterTargetArn"].as_str().unwrap_or_default();
    let receives =
        redrive["maxReceiveCount"].as_i64().or_else(|| redrive["maxReceiveCount"].as_str()?.parse().ok());
    let arn = dead.and_then(|dead| dead.get(&Name::QueueArn));
    if arn.is_some_and(|arn| arn != target) {
        return Some(Diagnosis::error(
            place,
            format!("its dead letters go to {target}"),
            "`terraform apply` sets its redrive policy",
        ));
    }
    let attempts = i64::from(policy.max_attempts);
    receives.filter(|receives| *receives <= attempts + 3).map(|receives| {
        Diagnosis::warning(
            place,
            format!(
                "SQS dead-letters after {receives} receives, and event_router.yaml allows {attempts} attempts"
            ),
            "`terraform apply` sets its redrive policy: dead letters would have no reason",
        )
    })
}

fn retention(place: &str, live: &Attributes, dead: &Attributes) -> Option<Diagnosis> {
    let (live, dead) =
        (number(live, &Name::MessageRetentionPeriod)?, number(dead, &Name::MessageRetentionPeriod)?);
    let days = |seconds: i64| seconds / DAY_SECONDS;
    if dead <= live {
        return Some(Diagnosis::warning(
            place,
            format!(
                "its dead-letter queue keeps messages for {} days, and it for {}",
                days(dead),
                days(live)
            ),
            "a dead letter keeps its age: `terraform apply` with dlq_retention_days above message_retention_days",
        ));
    }
    let window_days = DEDUP_WINDOW.as_secs() as i64 / DAY_SECONDS;
    (live + dead + DAY_SECONDS > window_days * DAY_SECONDS).then(|| {
        Diagnosis::warning(
            place,
            format!(
                "a copy may live for {} days, and what was done is remembered for {window_days}",
                days(live + dead) + 1
            ),
            "message_retention_days and dlq_retention_days may be 20 together",
        )
    })
}

fn visibility(place: &str, live: &Attributes) -> Option<Diagnosis> {
    let seconds = number(live, &Name::VisibilityTimeout)?;
    (seconds < VISIBILITY_SECONDS_MIN).then(|| {
        Diagnosis::warning(
            place,
            format!("its visibility timeout is {seconds} s"),
            format!("set visibility_timeout_seconds to {VISIBILITY_SECONDS_MIN} or more"),
        )
    })
}

fn number(attributes: &Attributes, name: &Name) -> Option<i64> {
    attributes.get(name)?.parse().ok()
}
