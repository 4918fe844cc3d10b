//! Settles messages: deletes and waits in batches of ten, dead letters one by one. Each has its own answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue,
};
use futures_util::future::join_all;
use outbox_transport::{Kind, Outcome, Queue, Unsettled};

use super::{BATCH_MAX, SqsQueue, SqsReceipt, text};
use crate::Failure;

type Answers = Vec<Result<(), Unsettled>>;

impl SqsQueue {
    pub(super) async fn settle_each(&self, settled: &[(SqsReceipt, Outcome)]) -> Answers {
        let (mut done, mut again, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for (receipt, outcome) in settled {
            match outcome {
                Outcome::Done | Outcome::Duplicate => done.push(receipt),
                Outcome::Retry { after, .. } => again.push((receipt, self.wait(receipt, *after).hidden)),
                Outcome::Dead { code, reason } | Outcome::SetAside { code, reason } => {
                    dead.push((receipt, *code, reason.as_str()));
                }
            }
        }
        let (deleted, hidden, sent) =
            tokio::join!(self.delete(&done), self.hide(&again), self.dead_letter(&dead));
        let (mut deleted, mut hidden, mut sent) = (deleted.into_iter(), hidden.into_iter(), sent.into_iter());
        let answer = |(_, outcome): &(_, Outcome)| match outcome {
            Outcome::Done | Outcome::Duplicate => deleted.next(),
            Outcome::Retry { .. } => hidden.next(),
            Outcome::Dead { .. } | Outcome::SetAside { .. } => sent.next(),
        };
        settled.iter().map(answer).map(|answer| answer.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    async fn delete(&self, receipts: &[&SqsReceipt]) -> Answers {
        let batches = receipts.chunks(BATCH_MAX).map(|batch| self.delete_batch(batch));
        join_all(batches).await.into_iter().flatten().collect()
    }

    async fn delete_batch(&self, receipts: &[&SqsReceipt]) -> Answers {
        let entries = receipts.iter().enumerate().filter_map(|(n, receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(&receipt.handle).build().ok()
        });
        let entries = Some(entries.collect());
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(entries);
        match request.send().await {
            Ok(answer) => each_of(receipts.len(), answer.failed()),
            Err(error) => all_of(receipts.len(), &Failure::of(&error)),
        }
    }

    /// Hides messages. SQS refuses more than [`Queue::wait`] allows.
    pub(super) async fn hide(&self, receipts: &[(&SqsReceipt, Duration)]) -> Answers {
        let batches = receipts.chunks(BATCH_MAX).map(|batch| self.hide_batch(batch));
        join_all(batches).await.into_iter().flatten().collect()
    }

    async fn hide_batch(&self, receipts: &[(&SqsReceipt, Duration)]) -> Answers {
        let entries = receipts.iter().enumerate().filter_map(|(n, (receipt, hidden))| {
            // Rounded up: a message must not come back before its time.
            let seconds = hidden.as_millis().div_ceil(1000);
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
            let entry = entry.receipt_handle(&receipt.handle);
            entry.visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX)).build().ok()
        });
        let entries = Some(entries.collect());
        let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(entries);
        match request.send().await {
            Ok(answer) => each_of(receipts.len(), answer.failed()),
            Err(error) => all_of(receipts.len(), &Failure::of(&error)),
        }
    }

    /// Sends to the dead-letter queue first and deletes second: a failure in between makes a copy and loses nothing.
    async fn dead_letter(&self, dead: &[(&SqsReceipt, &str, &str)]) -> Answers {
        // One by one: a batch of ten may exceed the size limit, and dead letters are few.
        let mut answers =
            join_all(dead.iter().map(|(receipt, code, reason)| self.send_dead(receipt, code, reason))).await;
        let sent: Vec<usize> = (0..dead.len()).filter(|&at| answers[at].is_ok()).collect();
        let receipts: Vec<&SqsReceipt> = sent.iter().map(|&at| dead[at].0).collect();
        for (at, deleted) in sent.into_iter().zip(self.delete(&receipts).await) {
            answers[at] = deleted;
        }
        answers
    }

    async fn send_dead(&self, receipt: &SqsReceipt, code: &str, reason: &str) -> Result<(), Unsettled> {
        if receipt.dead_lettered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let sent = match self.send_with(receipt, code, &text::attribute(reason)).await {
            // A body of the maximal size leaves no room for a reason.
            Err(error) if is_of_contents(&error.code) => {
                self.send_with(receipt, code, "the reason was refused by SQS").await.map_err(|_| error)
            }
            sent => sent,
        };
        if sent.is_ok() {
            receipt.dead_lettered.store(true, Ordering::Relaxed);
        }
        sent
    }

    async fn send_with(&self, receipt: &SqsReceipt, code: &str, reason: &str) -> Result<(), Unsettled> {
        let send = self
            .client
            .send_message()
            .queue_url(&self.dead_url)
            .message_body(receipt.body.as_ref())
            .set_message_attributes(Some(
                [("outbox-code", text::attribute(code)), ("outbox-reason", reason.to_owned())]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), string(value)?)))
                    .collect(),
            ));
        send.send().await.map(|_| ()).map_err(|error| Failure::of(&error).into())
    }
}

fn string(value: String) -> Option<MessageAttributeValue> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().ok()
}

fn is_of_contents(code: &str) -> bool {
    ["InvalidParameterValue", "InvalidMessageContents", "InvalidAttributeValue", "MessageTooLong"]
        .iter()
        .any(|of_contents| code.ends_with(of_contents))
}

/// For a request that failed as a whole.
fn all_of(many: usize, failure: &Failure) -> Answers {
    (0..many).map(|_| Err(failure.clone().into())).collect()
}

/// For a request that failed for some entries. Their ids are their indices.
fn each_of(many: usize, failed: &[BatchResultErrorEntry]) -> Answers {
    let mut answers: Answers = (0..many).map(|_| Ok(())).collect();
    for entry in failed {
        let message = entry.message().unwrap_or_default();
        let Some(answer) = entry.id().parse().ok().and_then(|at: usize| answers.get_mut(at)) else {
            continue;
        };
        if is_gone(entry.code(), message) {
            tracing::debug!(code = entry.code(), "a message came back before it was settled");
            continue;
        }
        let kind = if entry.sender_fault() { crate::failure::kind_of_aws(entry.code()) } else { Kind::Away };
        *answer = Err(Unsettled::new(kind, entry.code(), message));
    }
    answers
}

/// Whether the handle is invalid: its message has come back to the queue, and another worker may have it. The code alone does
/// not show this, because it stands for other parameters, too.
pub(crate) fn is_gone(code: &str, message: &str) -> bool {
    let code = code.rsplit('.').next().unwrap_or(code);
    match code {
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => true,
        "InvalidParameterValue" => {
            let message = message.to_lowercase();
            ["receipthandle", "receipt handle", "message does not exist"]
                .iter()
                .any(|of| message.contains(of))
        }
        _ => false,
    }
}

/// SQS answers for every message, so this is not expected.
fn unanswered() -> Unsettled {
    Unsettled::new(Kind::Away, "UnreadableAnswer", "SQS did not answer for this message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 3: only an invalid handle means that another worker has the message. A refusal of something else
    /// must not be taken for that.
    #[test]
    fn a_message_is_gone_only_where_sqs_says_so() {
        let expired =
            "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.";
        let visible = "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.";
        let too_long = "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds].";
        for (code, message, gone) in [
            ("ReceiptHandleIsInvalid", "", true),
            ("AWS.SimpleQueueService.MessageNotInflight", "", true),
            ("InvalidParameterValue", expired, true),
            ("InvalidParameterValue", visible, true),
            ("InvalidParameterValue", too_long, false),
            ("InvalidParameterValue", "", false),
            ("AccessDenied", "", false),
        ] {
            assert_eq!(is_gone(code, message), gone, "{code} {message}");
        }
    }

    /// Guards promise 3: each message of a batch has its own answer.
    #[test]
    fn each_of_a_batch_has_its_answer() {
        let failed = |id: &str, code: &str, sender_fault| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
        };
        let failed = [
            failed("0", "ReceiptHandleIsInvalid", true),
            failed("2", "AccessDenied", true),
            failed("3", "InternalError", false),
            failed("9", "AccessDenied", true),
        ];
        let kinds: Vec<_> =
            each_of(5, &failed).into_iter().map(|one| one.map_err(|error| error.kind)).collect();
        assert_eq!(kinds, [Ok(()), Ok(()), Err(Kind::Refused), Err(Kind::Away), Ok(())]);
    }
}
