//! The operator's side on AWS: SQS has queues and dead letters, DynamoDB has the dedup record.

mod audit;
mod brakes;
mod clock;
mod job; // a repair's progress
mod letters;
mod looking;
mod pace; // the rate of a repair
mod past;
mod processes;
mod records;
mod repairs;
mod waiting; // what SQS can't do

pub use records::{EXPIRY_ATTRIBUTE, KEY_ATTRIBUTE};

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use chrono::Utc;
use futures_util::StreamExt;
use futures_util::future::join_all;
use outbox_event_router::{Rpc, names};
use outbox_runtime::Guarded;
use outbox_transport::operate::{
    Addressed, Count, Depth, OperateError, Queues, Repair, SQS, Say, Undeliverable,
};

use crate::{Failure, Missing};
use clock::Clock;
use looking::Looking;

/// Per request.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Queues that are queried at a time.
const TOGETHER: usize = 16;

/// The queues and the table that Terraform created for one event_router.yaml.
#[derive(Debug)]
pub struct AwsOperator {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    prefix: String,
    table: String,
    rpcs: Vec<Rpc>,
    say: Say,
    /// By name, for the queues that were queried.
    urls: Guarded<HashMap<String, String>>,
    looking: Looking,
    clock: Clock,
}

impl AwsOperator {
    /// The names of the queues of `rpcs` begin with `prefix`. `rpcs` may be empty if only the dedup table is read.
    ///
    /// # Errors
    ///
    /// If region or credentials are missing.
    pub async fn open(prefix: &str, table: &str, rpcs: Vec<Rpc>, say: Say) -> Result<Self, OperateError> {
        let config = crate::config(ANSWER_WITHIN).await;
        if let Some(Missing { what, remedy, .. }) = crate::missing(&config).await.into_iter().next() {
            return Err(OperateError::unreachable(what, remedy));
        }
        Ok(Self::new(&config, prefix, table, rpcs, say))
    }

    pub fn new(config: &SdkConfig, prefix: &str, table: &str, rpcs: Vec<Rpc>, say: Say) -> Self {
        let clock = Clock::default();
        let of_dynamodb = aws_sdk_dynamodb::config::Builder::from(config).interceptor(clock.clone()).build();
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(of_dynamodb),
            prefix: prefix.to_owned(),
            table: table.to_owned(),
            rpcs,
            say,
            urls: Guarded::default(),
            looking: Looking::default(),
            clock,
        }
    }

    fn queue(&self, rpc: &Rpc) -> String {
        names::queue(&self.prefix, rpc)
    }

    fn dead_letter_queue(&self, rpc: &Rpc) -> String {
        format!("{}-dlq", self.queue(rpc))
    }

    /// The URL of a queue; `None` if there is none of that name.
    async fn url(&self, name: &str) -> Result<Option<String>, OperateError> {
        if let Some(url) = self.urls.lock().get(name) {
            return Ok(Some(url.clone()));
        }
        match self.sqs.get_queue_url().queue_name(name).send().await {
            Ok(answer) => {
                let url = answer.queue_url.unwrap_or_default();
                self.urls.lock().insert(name.to_owned(), url.clone());
                Ok(Some(url))
            }
            Err(error) => absent(&Failure::of(&error)),
        }
    }

    async fn url_needed(&self, name: &str) -> Result<String, OperateError> {
        self.url(name).await?.ok_or_else(|| {
            OperateError::failed(
                format!("there is no queue '{name}' here"),
                "`terraform apply` makes it; see --queue-prefix, AWS_REGION and the account",
            )
        })
    }

    /// The visible and the hidden messages; `None` if there is no such queue.
    async fn count(&self, name: &str) -> Result<Option<(Count, Count)>, OperateError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let Some(url) = self.url(name).await? else { return Ok(None) };
        let ask = self.sqs.get_queue_attributes().queue_url(url);
        let ask = ask.attribute_names(Visible).attribute_names(Hidden).attribute_names(Delayed);
        let answer = match ask.send().await {
            Ok(answer) => answer,
            Err(error) => return absent(&Failure::of(&error)),
        };
        let number = |name: &QueueAttributeName| -> i64 {
            answer.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
        };
        Ok(Some((Count::new(number(&Visible)), Count::new(number(&Hidden) + number(&Delayed)))))
    }

    async fn depth(&self, rpc: &Rpc) -> Result<Depth, OperateError> {
        let (queue, dead) = (self.queue(rpc), self.dead_letter_queue(rpc));
        let (counts, dead_counts) = tokio::try_join!(self.count(&queue), self.count(&dead))?;
        let missing = match (&counts, &dead_counts) {
            (None, _) => Some(format!("there is no queue '{queue}' here")),
            (_, None) => Some(format!("there is no queue '{dead}' here")),
            _ => None,
        };
        let (waiting, hidden) = counts.unwrap_or_default();
        let (dead, looked_at) = dead_counts.unwrap_or_default();
        Ok(Depth { waiting, hidden, dead: dead + looked_at, missing, ..Depth::empty(rpc) })
    }
}

impl Queues for AwsOperator {
    fn source(&self) -> &'static str {
        SQS
    }

    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, OperateError> {
        let depths = futures_util::stream::iter(rpcs).map(|rpc| self.depth(rpc)).buffered(TOGETHER);
        depths.collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn undeliverable(&self) -> Result<Option<Undeliverable>, OperateError> {
        let queue = format!("{}-undeliverable", self.prefix.trim_end_matches('-'));
        let counts = self.count(&queue).await?;
        Ok(counts.map(|(visible, hidden)| Undeliverable { queue, messages: visible + hidden }))
    }

    async fn replay(
        &self,
        repair: &Repair,
        messages: &[Addressed],
        force: bool,
    ) -> Vec<Result<bool, OperateError>> {
        let sent = messages.iter().map(async |Addressed { event, rpc, body }| {
            let url = self.url_needed(&self.queue(rpc)).await?;
            if force && !self.forget(*event, rpc).await? {
                return Ok(false);
            }
            let at = Utc::now();
            let sent = self.sqs.send_message().queue_url(url).message_body(body).send().await;
            sent.map_err(|error| trouble("SQS", &Failure::of(&error)))?;
            self.keep_move((*event, rpc), "replayed", repair, at).await;
            Ok(true)
        });
        join_all(sent).await
    }
}

/// `None`, if there is no such queue.
fn absent<T>(failure: &Failure) -> Result<Option<T>, OperateError> {
    if failure.is_no_queue() { Ok(None) } else { Err(trouble("SQS", failure)) }
}

/// A failed request and its remedy.
pub fn trouble(service: &str, failure: &Failure) -> OperateError {
    let remedy = match failure.code.as_str() {
        "Unreachable" | "Timeout" => {
            "see AWS_REGION, AWS_ENDPOINT_URL, and whether this machine can reach AWS"
        }
        code if code.contains("AccessDenied") || code.contains("NotAuthorized") => {
            "attach the policy `ops` that Terraform makes to the role that runs this"
        }
        code if code.contains("Token") || code.contains("Signature") || code.contains("Credentials") => {
            "log in to AWS again, or see AWS_PROFILE"
        }
        "ResourceNotFoundException" => {
            "see --dedup-table, --bus, AWS_REGION and the account; `terraform apply` makes them"
        }
        _ => "try again; `outbox doctor` looks at what there is on AWS",
    };
    OperateError::unreachable(format!("{service} did not do what was asked: {failure}"), remedy)
}
