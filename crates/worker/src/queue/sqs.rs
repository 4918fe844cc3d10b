//! Amazon SQS: long polls, batches of ten, the dead-letter queue beside each queue.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
};
use chrono::{DateTime, Utc};
use outbox_aws::Failure;
use tokio_util::sync::CancellationToken;

use super::{Delivery, Depth, Depths, Limits, Queue, QueueError, Settlement, Wanted};
use crate::each::each;

/// Of every batch operation, and of a receive.
const BATCH_MAX: usize = 10;
/// For a batch to fill: an idle queue answers at once, and under load it takes less.
const LINGER: Duration = Duration::from_millis(20);
const WAIT_SECONDS: i32 = 20;
/// SQS's default.
const KEEPS: Duration = Duration::from_secs(4 * 24 * 60 * 60);
/// SQS counts from the receive, and refuses what would end later.
const VISIBILITY_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// For clocks, and for the request's own time.
const VISIBILITY_MARGIN: Duration = Duration::from_secs(60);
/// A message attribute is bounded by the message's own size; this is for people.
const REASON_CHARS_MAX: usize = 1000;

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
    /// Of the messages last received: SQS itself tells only CloudWatch.
    oldest: Mutex<Option<DateTime<Utc>>>,
}

/// A received copy. The handle is only good while it is hidden; the body is kept for the dead-letter queue.
#[derive(Clone)]
pub struct SqsReceipt {
    handle: String,
    body: Arc<str>,
    received_at: Instant,
}

impl std::fmt::Debug for SqsReceipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqsReceipt").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl SqsQueue {
    /// Finds a queue and its dead-letter queue by name. `polls` is `client` with the time that a long poll takes.
    ///
    /// # Errors
    ///
    /// If SQS can't be asked, or has no queue of that name: the failure's code is then `QueueDoesNotExist`.
    pub async fn open(
        client: Client,
        polls: Client,
        name: &str,
        visibility: Duration,
    ) -> Result<Self, Failure> {
        let (url, dead_url) = (url(&client, name).await?, url(&client, &format!("{name}-dlq")).await?);
        let keeps = keeps(&client, &url).await?;
        Ok(Self { polls, client, url, dead_url, visibility, keeps, oldest: Mutex::new(None) })
    }

    async fn delete(&self, receipts: &[&SqsReceipt]) -> Result<(), QueueError> {
        let batches: Vec<_> = receipts.chunks(BATCH_MAX).collect();
        each(&batches, |batch| self.delete_batch(batch)).await.map(|_| ())
    }

    async fn delete_batch(&self, receipts: &[&SqsReceipt]) -> Result<(), QueueError> {
        let entries = receipts.iter().enumerate().map(|(n, receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(&receipt.handle).build().map_err(unbuilt)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| failed(Failure::of(&error)))?;
        all_settled(answer.failed())
    }

    async fn hide(&self, receipts: &[(&SqsReceipt, Duration)]) -> Result<(), QueueError> {
        let batches: Vec<_> = receipts.chunks(BATCH_MAX).collect();
        each(&batches, |batch| self.hide_batch(batch)).await.map(|_| ())
    }

    async fn hide_batch(&self, receipts: &[(&SqsReceipt, Duration)]) -> Result<(), QueueError> {
        let entries = receipts.iter().enumerate().map(|(n, (receipt, hidden))| {
            // Rounded up: a message must not come back before its time.
            let seconds = hideable(*hidden, receipt.received_at.elapsed()).as_millis().div_ceil(1000);
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
            let entry = entry.receipt_handle(&receipt.handle);
            entry.visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX)).build().map_err(unbuilt)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let request =
            self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| failed(Failure::of(&error)))?;
        all_settled(answer.failed())
    }

    /// To the dead-letter queue first, and only then out of the queue: a failure in between makes a copy and loses none.
    async fn bury(&self, dead: &[(&SqsReceipt, &str, &str)]) -> Result<(), QueueError> {
        // One by one: ten of them may be more than a batch may hold, and there are few.
        each(dead, |(receipt, code, reason)| self.bury_one(receipt, code, reason)).await?;
        let receipts: Vec<&SqsReceipt> = dead.iter().map(|(receipt, ..)| *receipt).collect();
        self.delete(&receipts).await
    }

    async fn bury_one(&self, receipt: &SqsReceipt, code: &str, reason: &str) -> Result<(), QueueError> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let send = self
            .client
            .send_message()
            .queue_url(&self.dead_url)
            .message_body(receipt.body.as_ref())
            .message_attributes("outbox-code", text(code)?)
            .message_attributes("outbox-reason", text(&reason)?);
        send.send().await.map(|_| ()).map_err(|error| failed(Failure::of(&error)))
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
            answer = receive.send() => answer.map_err(|error| failed(Failure::of(&error)))?,
            // What this poll may still receive comes back after its visibility.
            () = stop.cancelled() => return Ok(Vec::new()),
        };
        let received: Vec<_> = answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect();
        *self.oldest.lock().expect("no panic while held") =
            received.iter().map(|delivery| delivery.enqueued_at).min();
        Ok(received)
    }

    async fn settle(&self, settled: &[(SqsReceipt, Settlement)]) -> Result<(), QueueError> {
        let (mut done, mut again, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for (receipt, settlement) in settled {
            match settlement {
                Settlement::Ack => done.push(receipt),
                Settlement::Retry { after, .. } => again.push((receipt, *after)),
                Settlement::Dead { code, reason } => dead.push((receipt, code.as_str(), reason.as_str())),
            }
        }
        let (deleted, hidden, buried) = tokio::join!(self.delete(&done), self.hide(&again), self.bury(&dead));
        deleted.and(hidden).and(buried)
    }

    async fn extend(&self, receipts: &[SqsReceipt]) -> Result<(), QueueError> {
        let receipts: Vec<_> = receipts.iter().map(|receipt| (receipt, self.visibility)).collect();
        self.hide(&receipts).await
    }

    fn limits(&self) -> Limits {
        Limits {
            visibility: self.visibility,
            keeps: self.keeps,
            batch_max: BATCH_MAX,
            linger: LINGER,
            chooses: false,
        }
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
            let answer = ask.send().await.map_err(|error| failed(Failure::of(&error)))?;
            let read = |name: &QueueAttributeName| -> i64 {
                answer.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
            };
            Ok((read(&Waiting) + read(&Delayed), read(&Hidden)))
        };
        let ((waiting, hidden), (dead, dead_hidden)) =
            tokio::try_join!(count(&self.url), count(&self.dead_url))?;
        let oldest = *self.oldest.lock().expect("no panic while held");
        Ok(Depth {
            waiting,
            hidden,
            dead: dead + dead_hidden,
            oldest: oldest.filter(|_| waiting + hidden > 0),
        })
    }
}

async fn url(client: &Client, name: &str) -> Result<String, Failure> {
    let answer = client.get_queue_url().queue_name(name).send().await.map_err(|error| {
        let failure = Failure::of(&error);
        match failure.code.as_str() {
            "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" => Failure {
                code: "QueueDoesNotExist".to_owned(),
                message: format!("there is no queue '{name}' here"),
                ..failure
            },
            _ => failure,
        }
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

/// How long a message can be hidden that was received so long ago. A longer wait ends sooner than was asked for: its attempt
/// comes early, and is not lost.
fn hideable(wanted: Duration, since_receive: Duration) -> Duration {
    wanted.min(VISIBILITY_MAX.saturating_sub(since_receive + VISIBILITY_MARGIN))
}

fn delivery(message: Message) -> Option<Delivery<SqsReceipt>> {
    let number = |name: &MessageSystemAttributeName| -> Option<i64> {
        message.attributes.as_ref()?.get(name)?.parse().ok()
    };
    let attempt = number(&MessageSystemAttributeName::ApproximateReceiveCount);
    let sent_at =
        number(&MessageSystemAttributeName::SentTimestamp).and_then(DateTime::<Utc>::from_timestamp_millis);
    let body = message.body.unwrap_or_default();
    Some(Delivery {
        receipt: SqsReceipt {
            handle: message.receipt_handle?,
            body: body.as_str().into(),
            received_at: Instant::now(),
        },
        body,
        attempt: attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
        enqueued_at: sent_at.unwrap_or_else(Utc::now),
        lease: None,
    })
}

/// Of a batch some may fail. A copy whose handle is no longer good has come back to the queue, and somebody else decides
/// about it; for the others the whole is done again, which does no harm to those that are settled.
fn all_settled(failed_entries: &[BatchResultErrorEntry]) -> Result<(), QueueError> {
    let is_gone = |entry: &&BatchResultErrorEntry| {
        ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"].contains(&entry.code())
            || entry.code().ends_with("MessageNotInflight")
    };
    for entry in failed_entries.iter().filter(is_gone) {
        tracing::debug!(code = entry.code(), "a message came back before it was settled");
    }
    match failed_entries.iter().find(|entry| !is_gone(entry)) {
        None => Ok(()),
        Some(entry) => Err(failed(Failure {
            code: entry.code().to_owned(),
            message: entry.message().unwrap_or_default().to_owned(),
            refused: entry.sender_fault(),
        })),
    }
}

fn text(value: &str) -> Result<MessageAttributeValue, QueueError> {
    // An attribute may not be empty.
    let value = if value.is_empty() { "-" } else { value };
    MessageAttributeValue::builder().data_type("String").string_value(value).build().map_err(unbuilt)
}

fn failed(failure: Failure) -> QueueError {
    QueueError(Box::new(failure))
}

fn unbuilt(error: aws_sdk_sqs::error::BuildError) -> QueueError {
    QueueError(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 2: a wait is never longer than SQS still allows for this receive, which it would refuse.
    #[test]
    fn a_wait_ends_within_twelve_hours_of_the_receive() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        for (wanted, since, hidden) in [
            (Duration::from_secs(5), hours(0), Duration::from_secs(5)),
            (hours(12), hours(0), hours(12) - VISIBILITY_MARGIN),
            (hours(12), hours(11), hours(1) - VISIBILITY_MARGIN),
            (hours(24), hours(13), Duration::ZERO),
        ] {
            assert_eq!(hideable(wanted, since), hidden, "{wanted:?} {since:?}");
        }
    }
}
