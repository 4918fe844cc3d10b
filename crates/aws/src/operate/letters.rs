//! Dead letters on SQS. A message can only be read by receiving it: it is hidden for a minute, and made visible again at the
//! end.

use std::collections::{HashMap, VecDeque};

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use outbox_transport::operate::{DeadLetters, Filter, Letter, OperateError, Repair, Repaired};

use super::looking::{Held, Place};
use super::{AwsOperator, absent, trouble};
use crate::Failure;
use crate::sqs::is_gone;

const BATCH_MAX: i32 = 10;
const HIDDEN_SECONDS: i32 = 60;
/// A long poll asks all servers of SQS, not only some.
const WAIT_SECONDS: i32 = 1;
/// Hidden messages come back while we read. After so many receives without a new one, all have been seen.
const NOTHING_NEW_MAX: u32 = 3;

impl DeadLetters for AwsOperator {
    type Handle = Held;

    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<Held>>, OperateError> {
        if self.looking.left.is_none() {
            self.looking.left = Some(self.places(filter).await?);
        }
        if filter.limit.is_some_and(|limit| self.looking.returned >= limit) {
            return Ok(Vec::new());
        }
        while let Some(place) = self.looking.left.as_ref().and_then(|left| left.front().cloned()) {
            let letters = self.receive(&place).await?;
            let (all, mut wanted) = (letters.len(), Vec::new());
            let mut fresh = 0;
            for letter in letters {
                let held = letter.handle.clone();
                self.looking.held.lock().insert(letter.id.clone(), held);
                if self.looking.seen.insert(letter.id.clone()) {
                    fresh += 1;
                    let is_enough = filter.limit.is_some_and(|limit| self.looking.returned >= limit);
                    if !is_enough && matches(filter, &letter) && !self.looking.has_redriven(&letter) {
                        self.looking.returned += 1;
                        wanted.push(letter);
                    }
                }
            }
            self.looking.nothing_new = if fresh > 0 { 0 } else { self.looking.nothing_new + 1 };
            if all == 0 || self.looking.nothing_new >= NOTHING_NEW_MAX {
                self.looking.nothing_new = 0;
                self.looking.left.as_mut().map(VecDeque::pop_front);
            }
            if !wanted.is_empty() {
                return Ok(wanted);
            }
        }
        Ok(Vec::new())
    }

    async fn redrive(
        &self,
        repair: &Repair,
        letters: &[Letter<Held>],
        force: bool,
    ) -> Vec<Result<Repaired, OperateError>> {
        join_all(letters.iter().map(|letter| self.redrive_one(repair, letter, force))).await
    }

    async fn take_away(
        &self,
        repair: &Repair,
        letters: &[Letter<Held>],
    ) -> Vec<Result<Repaired, OperateError>> {
        join_all(letters.iter().map(|letter| self.drop_one(repair, letter))).await
    }

    async fn put_back(&mut self) {
        let held = std::mem::take(&mut *self.looking.held.lock());
        self.looking.left = None;
        self.looking.seen.clear();
        self.looking.returned = 0;
        let mut by_queue: HashMap<String, Vec<String>> = HashMap::new();
        for Held { url, receipt } in held.into_values() {
            by_queue.entry(url).or_default().push(receipt);
        }
        for (url, receipts) in by_queue {
            for batch in receipts.chunks(BATCH_MAX as usize) {
                if let Err(failure) = self.make_visible(&url, batch).await {
                    (self.say)(&format!(
                        "what was looked at stays hidden for up to {HIDDEN_SECONDS} s: {failure}"
                    ));
                    return;
                }
            }
        }
    }
}

impl AwsOperator {
    /// Sends first and deletes second: a failure in between makes a copy and loses nothing.
    async fn redrive_one(
        &self,
        repair: &Repair,
        letter: &Letter<Held>,
        force: bool,
    ) -> Result<Repaired, OperateError> {
        let url = self.url_needed(&self.queue(&letter.rpc)).await?;
        if !self.hold(letter).await? {
            return Ok(Repaired::Gone);
        }
        if let (true, Some(event)) = (force, letter.event)
            && !self.forget(event, &letter.rpc).await?
        {
            return Ok(Repaired::Busy);
        }
        let send = self.sqs.send_message().queue_url(url).message_body(&letter.body);
        self.looking.remember(letter);
        let before = Utc::now();
        if let Err(error) = send.send().await {
            return match Failure::of(&error) {
                failure if crate::is_away(&failure.code) => Err(trouble("SQS", &failure)),
                failure => Ok(Repaired::Refused(failure.to_string())),
            };
        }
        let moved = self.delete(letter, before).await?;
        if let Some(event) = letter.event {
            self.keep_move((event, &letter.rpc), "redriven", repair, before).await;
            self.looking.moved.lock().add(event, &letter.rpc);
        }
        Ok(moved)
    }

    /// Recorded first: nothing is dropped without a trace.
    async fn drop_one(&self, repair: &Repair, letter: &Letter<Held>) -> Result<Repaired, OperateError> {
        if !self.hold(letter).await? {
            return Ok(Repaired::Gone);
        }
        if let Some(event) = letter.event {
            self.keep_drop(event, &letter.rpc, repair).await?;
        }
        self.delete(letter, Utc::now()).await
    }

    /// Extends its visibility. `false` if another client holds it by now: a delete would not report that.
    async fn hold(&self, letter: &Letter<Held>) -> Result<bool, OperateError> {
        let Held { url, receipt } = self.looking.held(letter);
        let hide = self.sqs.change_message_visibility().queue_url(url).receipt_handle(receipt);
        match hide.visibility_timeout(HIDDEN_SECONDS).send().await {
            Ok(_) => Ok(true),
            Err(error) => match Failure::of(&error) {
                failure if is_gone(&failure.code, &failure.message) => Ok(false),
                failure => Err(trouble("SQS", &failure)),
            },
        }
    }

    /// `before` it was moved its event was dead at its RPC.
    async fn delete(&self, letter: &Letter<Held>, before: DateTime<Utc>) -> Result<Repaired, OperateError> {
        let Held { url, receipt } = self.looking.held(letter);
        let delete = self.sqs.delete_message().queue_url(url).receipt_handle(receipt);
        delete.send().await.map_err(|error| trouble("SQS", &Failure::of(&error)))?;
        self.looking.held.lock().remove(&letter.id);
        if let Some(event) = letter.event {
            self.forget_death(event, &letter.rpc, before).await;
        }
        Ok(Repaired::Moved)
    }

    async fn places(&self, filter: &Filter) -> Result<VecDeque<Place>, OperateError> {
        if let Some(rpc) = &filter.rpc {
            let url = self.url_needed(&self.dead_letter_queue(rpc)).await?;
            return Ok([Place { rpc: rpc.clone(), url }].into());
        }
        let mut places = VecDeque::new();
        for rpc in &self.rpcs {
            let name = self.dead_letter_queue(rpc);
            match self.url(&name).await? {
                Some(url) => places.push_back(Place { rpc: rpc.clone(), url }),
                None => (self.say)(&format!(
                    "there is no queue '{name}' here: `outbox doctor` says what is missing"
                )),
            }
        }
        Ok(places)
    }

    async fn receive(&self, place: &Place) -> Result<Vec<Letter<Held>>, OperateError> {
        let receive = self
            .sqs
            .receive_message()
            .queue_url(&place.url)
            .max_number_of_messages(BATCH_MAX)
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        match receive.send().await {
            Ok(answer) => {
                let messages = answer.messages.unwrap_or_default().into_iter();
                Ok(messages.filter_map(|message| letter(place, message)).collect())
            }
            Err(error) => Ok(absent(&Failure::of(&error))?.unwrap_or_default()),
        }
    }

    async fn make_visible(&self, url: &str, receipts: &[String]) -> Result<(), Failure> {
        let entries = receipts.iter().enumerate().filter_map(|(n, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(receipt).visibility_timeout(0).build().ok()
        });
        let change = self.sqs.change_message_visibility_batch().queue_url(url);
        // If the change fails, the message becomes visible by itself.
        change
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| Failure::of(&error))
    }
}

/// A worker gives a reason. SQS itself moves messages that were received too often, without a reason.
fn letter(place: &Place, message: Message) -> Option<Letter<Held>> {
    let attribute = |name: &str| {
        let value = message.message_attributes.as_ref()?.get(name)?;
        value.string_value().map(str::to_owned)
    };
    let sent_at = message
        .attributes
        .as_ref()
        .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok())
        .and_then(DateTime::<Utc>::from_timestamp_millis);
    let (code, reason) = match (attribute("outbox-code"), attribute("outbox-reason")) {
        (Some(code), reason) => (code, reason.unwrap_or_default()),
        (None, _) => ("redrive_policy".to_owned(), "received too often without being settled".to_owned()),
    };
    let body = message.body.unwrap_or_default();
    let event = outbox_event::Message::decode(&body).ok().map(|message| message.event.id);
    Some(Letter {
        id: message.message_id?,
        handle: Held { url: place.url.clone(), receipt: message.receipt_handle? },
        rpc: place.rpc.clone(),
        event,
        attempts: None,
        code,
        reason,
        dead_at: sent_at.unwrap_or_else(Utc::now).into(),
        body_bytes: body.len(),
        body,
    })
}

fn matches<H>(filter: &Filter, letter: &Letter<H>) -> bool {
    filter.event.is_none_or(|event| letter.event == Some(event))
        && filter.code.as_ref().is_none_or(|code| *code == letter.code)
        && filter.id.as_ref().is_none_or(|id| *id == letter.id)
        && filter.dead_by.is_none_or(|by| {
            letter.dead_at.known().is_none_or(|at| at <= by || at > Utc::now() + TimeDelta::days(1))
        })
        && filter.about.fits(&letter.reason, &letter.body)
        && filter.older_than.is_none_or(|age| {
            letter.dead_at.known().is_some_and(|at| (Utc::now() - at).to_std().is_ok_and(|old| old > age))
        })
}
