//! Amazon SQS: long polls, batches of ten, the dead-letter queue beside each queue.

mod settle;
mod text;

pub(crate) use settle::is_gone;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use chrono::{DateTime, Utc};
use outbox_runtime::Guarded;
use outbox_transport::{
    Delivery, Depth, Depths, Limits, Outcome, Queue, QueueError, Unsettled, Wait, Wanted,
};
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// Per batch operation and per receive.
const BATCH_MAX: usize = 10;
/// How long a batch may wait to fill: an idle queue answers at once, and under load a batch fills sooner.
const LINGER: Duration = Duration::from_millis(20);
const WAIT_SECONDS: i32 = 20;
/// SQS's default.
const KEEPS: Duration = Duration::from_secs(4 * 24 * 60 * 60);
/// SQS counts from the receive, and refuses a later end.
const VISIBILITY_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Room for the request's own time and for differing clocks.
const VISIBILITY_MARGIN: Duration = Duration::from_secs(60);
/// The part of the queue's retention after which a waiting message gets one more attempt. See `decide::Attempt`.
const LAST_ATTEMPT: f64 = 0.875;

/// One RPC's queue on SQS, and its dead-letter queue.
#[derive(Debug)]
pub struct SqsQueue {
    /// For long polls.
    polls: Client,
    client: Client,
    url: String,
    dead_url: String,
    visibility: Duration,
    keeps: Duration,
    /// The oldest of the last received messages, because SQS gives the queue's oldest only to CloudWatch.
    oldest: Guarded<Option<DateTime<Utc>>>,
}

/// A received copy. The handle is only valid while it is hidden; the body is kept for the dead-letter queue.
#[derive(Clone)]
pub struct SqsReceipt {
    handle: String,
    body: Arc<str>,
    received_at: Instant,
    sent_at: DateTime<Utc>,
    /// The dead-letter queue has it, so a failed delete must not send it there again.
    dead_lettered: Arc<AtomicBool>,
}

impl std::fmt::Debug for SqsReceipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqsReceipt").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl SqsQueue {
    /// Finds a queue and its dead-letter queue by name. `polls` is `client` with a timeout for long polls.
    ///
    /// # Errors
    ///
    /// If SQS does not answer, or has no queue of that name: the code is then `QueueDoesNotExist`.
    pub async fn open(
        client: Client,
        polls: Client,
        name: &str,
        visibility: Duration,
    ) -> Result<Self, Failure> {
        let (url, dead_url) = (url(&client, name).await?, url(&client, &format!("{name}-dlq")).await?);
        let keeps = keeps(&client, &url).await?;
        Ok(Self { polls, client, url, dead_url, visibility, keeps, oldest: Guarded::new(None) })
    }
}

impl Queue for SqsQueue {
    type Receipt = SqsReceipt;

    async fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<SqsReceipt>>, QueueError> {
        let receive = self
            .polls
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(wanted.most.min(BATCH_MAX)).unwrap_or(1))
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(i32::try_from(self.visibility.as_secs()).unwrap_or(i32::MAX))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = tokio::select! {
            answer = receive.send() => answer.map_err(|error| QueueError::new(Failure::of(&error)))?,
            // A message that this poll still receives comes back after its visibility.
            () = stop.cancelled() => return Ok(Vec::new()),
        };
        let received: Vec<_> = answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect();
        *self.oldest.lock() = received.iter().map(|delivery| delivery.enqueued_at).min();
        Ok(received)
    }

    async fn settle(&self, settled: &[(SqsReceipt, Outcome)]) -> Vec<Result<(), Unsettled>> {
        self.settle_each(settled).await
    }

    async fn extend(&self, receipts: &[SqsReceipt]) -> Result<(), QueueError> {
        let receipts: Vec<_> = receipts.iter().map(|receipt| (receipt, self.visibility)).collect();
        let failed = self.hide(&receipts).await.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(QueueError::new(error)))
    }

    fn limits(&self) -> Limits {
        Limits {
            visibility: self.visibility,
            keeps: self.keeps,
            batch_max: BATCH_MAX,
            linger: LINGER,
            charges: true,
            chooses: false,
        }
    }

    fn wait(&self, receipt: &SqsReceipt, wanted: Duration) -> Wait {
        let age = (Utc::now() - receipt.sent_at).to_std().unwrap_or_default();
        wait(wanted, receipt.received_at.elapsed(), age, self.keeps)
    }
}

impl Depths for SqsQueue {
    async fn depth(&self) -> Result<Depth, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let count = async |url: &str| -> Result<_, QueueError> {
            let ask = self
                .client
                .get_queue_attributes()
                .queue_url(url)
                .set_attribute_names(Some(vec![Waiting, Delayed, Hidden]));
            let answer = ask.send().await.map_err(|error| QueueError::new(Failure::of(&error)))?;
            let read = |name: &QueueAttributeName| -> i64 {
                answer.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
            };
            Ok((read(&Waiting) + read(&Delayed), read(&Hidden)))
        };
        let ((waiting, hidden), (dead, dead_hidden)) =
            tokio::try_join!(count(&self.url), count(&self.dead_url))?;
        let oldest = *self.oldest.lock();
        Ok(Depth {
            waiting,
            hidden,
            retrying: 0,
            dead: dead + dead_hidden,
            oldest: oldest.filter(|_| waiting + hidden > 0),
        })
    }
}

async fn url(client: &Client, name: &str) -> Result<String, Failure> {
    let answer = client.get_queue_url().queue_name(name).send().await.map_err(|error| {
        let failure = Failure::of(&error);
        if !failure.is_no_queue() {
            return failure;
        }
        let message = format!("there is no queue '{name}' here");
        Failure { code: "QueueDoesNotExist".to_owned(), message, ..failure }
    })?;
    Ok(answer.queue_url.unwrap_or_default())
}

async fn keeps(client: &Client, url: &str) -> Result<Duration, Failure> {
    let name = QueueAttributeName::MessageRetentionPeriod;
    let ask = client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
    let answer = ask.send().await.map_err(|error| Failure::of(&error))?;
    let seconds = answer.attributes().and_then(|all| all.get(&name)?.parse().ok());
    Ok(seconds.map_or(KEEPS, Duration::from_secs))
}

/// How long a message can wait and be hidden, by the time since its receive and its age. A queue loses a message after its
/// retention, so one more attempt is made before that.
fn wait(wanted: Duration, since_receive: Duration, age: Duration, keeps: Duration) -> Wait {
    let all = wanted.min(keeps.mul_f64(LAST_ATTEMPT).saturating_sub(age));
    Wait { all, hidden: all.min(VISIBILITY_MAX.saturating_sub(since_receive + VISIBILITY_MARGIN)) }
}

fn delivery(message: Message) -> Option<Delivery<SqsReceipt>> {
    let number = |name: &MessageSystemAttributeName| -> Option<i64> {
        message.attributes.as_ref()?.get(name)?.parse().ok()
    };
    let attempt = number(&MessageSystemAttributeName::ApproximateReceiveCount);
    let sent_at =
        number(&MessageSystemAttributeName::SentTimestamp).and_then(DateTime::<Utc>::from_timestamp_millis);
    let sent_at = sent_at.unwrap_or_else(Utc::now);
    let body = message.body.unwrap_or_default();
    Some(Delivery {
        receipt: SqsReceipt {
            handle: message.receipt_handle?,
            body: body.as_str().into(),
            received_at: Instant::now(),
            sent_at,
            dead_lettered: Arc::default(),
        },
        body,
        attempt: attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
        enqueued_at: sent_at,
        lease: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 2: a wait is never longer than SQS allows for this receive, and ends before the queue loses the message.
    #[test]
    fn a_wait_ends_within_what_sqs_can_hold() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        let margin = VISIBILITY_MARGIN;
        for (wanted, since, age, all, hidden) in [
            (hours(1), hours(0), hours(0), hours(1), hours(1)),
            (hours(12), hours(0), hours(0), hours(12), hours(12) - margin),
            (hours(12), hours(11), hours(11), hours(12), hours(1) - margin),
            (hours(24), hours(0), hours(0), hours(24), hours(12) - margin),
            (hours(24), hours(13), hours(13), hours(24), Duration::ZERO),
            (hours(24), hours(0), hours(72), hours(12), hours(12) - margin),
            (hours(24), hours(0), hours(80), hours(4), hours(4)),
            (hours(24), hours(0), hours(96), Duration::ZERO, Duration::ZERO),
        ] {
            assert_eq!(
                wait(wanted, since, age, hours(96)),
                Wait { all, hidden },
                "{wanted:?} {since:?} {age:?}"
            );
        }
    }
}
