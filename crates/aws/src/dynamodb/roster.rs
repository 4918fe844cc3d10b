//! The roster: one item with an entry for each running worker of the same queues. An entry is one attribute, so one request
//! reads all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{TimeDelta, Utc};
use outbox_event_router::names;

use super::item::{number, text};
use crate::Failure;

/// The names of attributes that hold an entry begin with this.
const PREFIX: &str = "w ";
/// DynamoDB removes a roster that no worker has written for this long. Clocks differ by much less.
const KEPT: TimeDelta = TimeDelta::days(7);

/// The roster of the workers that receive from the same queues.
#[derive(Debug, Clone)]
pub struct Roster {
    client: Client,
    table: String,
    key: String,
}

/// What a worker writes to the roster. Queues are numbered by the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The number of the worker's writes. It grows while the worker is running.
    pub beat: u64,
    /// Queues that have more work than this worker can do.
    pub full: BTreeSet<usize>,
    /// Queues from which this worker does not receive now.
    pub away: BTreeSet<usize>,
}

impl Roster {
    /// Workers share a roster if all of these texts are the same: the names of their queues, and other settings that must
    /// agree.
    pub fn new<'a>(client: Client, table: &str, same: impl IntoIterator<Item = &'a str>) -> Self {
        Self { client, table: table.to_owned(), key: format!("watch {}", names::digest(same)) }
    }

    /// The entries that can be read, by worker.
    ///
    /// # Errors
    ///
    /// If DynamoDB does not answer.
    pub async fn read(&self) -> Result<BTreeMap<String, Entry>, Failure> {
        let get = self.client.get_item().table_name(&self.table).key("id", text(&self.key));
        let answer = get.send().await.map_err(|error| Failure::of(&error))?;
        let entry = |(name, value): (String, AttributeValue)| {
            Some((name.strip_prefix(PREFIX)?.to_owned(), Entry::parse(value.as_s().ok()?)?))
        };
        Ok(answer.item.unwrap_or_default().into_iter().filter_map(entry).collect())
    }

    /// Writes this worker's entry, and leaves those of the others alone.
    ///
    /// # Errors
    ///
    /// If DynamoDB does not take it, or its answer is lost.
    pub async fn sign(&self, worker: &str, entry: &Entry) -> Result<(), Failure> {
        let values = HashMap::from([(":entry".to_owned(), text(&entry.text())), expiry()]);
        self.update(worker, "set #worker = :entry, expires_at = :expires_at", None, values).await
    }

    /// Removes this worker's entry. An item that has expired is made again, with an end.
    ///
    /// # Errors
    ///
    /// As [`Roster::sign`].
    pub async fn leave(&self, worker: &str) -> Result<(), Failure> {
        let values = HashMap::from([expiry()]);
        self.update(worker, "remove #worker set expires_at = :expires_at", None, values).await
    }

    /// Removes the entry of another worker, unless that worker has written since `seen` was read.
    ///
    /// # Errors
    ///
    /// As [`Roster::sign`]. The code is `ConditionalCheckFailedException` if that worker has written.
    pub async fn strike(&self, worker: &str, seen: &Entry) -> Result<(), Failure> {
        let values = HashMap::from([(":entry".to_owned(), text(&seen.text()))]);
        self.update(worker, "remove #worker", Some("#worker = :entry"), values).await
    }

    async fn update(
        &self,
        worker: &str,
        change: &str,
        condition: Option<&str>,
        values: HashMap<String, AttributeValue>,
    ) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&self.key))
            .update_expression(change)
            .set_condition_expression(condition.map(str::to_owned))
            .expression_attribute_names("#worker", format!("{PREFIX}{worker}"))
            .set_expression_attribute_values(Some(values));
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }
}

fn expiry() -> (String, AttributeValue) {
    (":expires_at".to_owned(), number((Utc::now() + KEPT).timestamp()))
}

impl Entry {
    /// The beat, and then a word for each non-empty set of queues. It is short, because DynamoDB's price grows with an item.
    fn text(&self) -> String {
        let word = |name: &str, queues: &BTreeSet<usize>| match queues.is_empty() {
            true => String::new(),
            false => format!(" {name}={}", digits(queues)),
        };
        format!("{}{}{}", self.beat, word("full", &self.full), word("away", &self.away))
    }

    /// `None` for a text that is not an entry. Unknown words, as of a later version, are ignored.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut entry = Self { beat: words.next()?.parse().ok()?, ..Self::default() };
        for word in words {
            match word.split_once('=') {
                Some(("full", digits)) => entry.full = queues(digits)?,
                Some(("away", digits)) => entry.away = queues(digits)?,
                _ => {}
            }
        }
        Some(entry)
    }
}

/// A bit for each queue, four in a digit, up to the last one that is set.
fn digits(queues: &BTreeSet<usize>) -> String {
    let digits = queues.last().map_or(0, |last| last / 4 + 1);
    let digit = |at: usize| (0..4).map(|bit| u32::from(queues.contains(&(4 * at + bit))) << bit).sum::<u32>();
    (0..digits).filter_map(|at| char::from_digit(digit(at), 16)).collect()
}

fn queues(digits: &str) -> Option<BTreeSet<usize>> {
    let mut queues = BTreeSet::new();
    for (at, digit) in digits.chars().enumerate() {
        let digit = digit.to_digit(16)?;
        queues.extend((0..4).filter(|bit| (digit >> bit) & 1 == 1).map(|bit| 4 * at + bit));
    }
    Some(queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: an entry is read as it was written, and is short. A text that is no entry is ignored.
    #[test]
    fn entries_are_written_and_read() {
        let entry = |beat, full: &[usize], away: &[usize]| Entry {
            beat,
            full: full.iter().copied().collect(),
            away: away.iter().copied().collect(),
        };
        for (entry, text) in [
            (entry(17, &[], &[]), "17"),
            (entry(18, &[0], &[]), "18 full=1"),
            (entry(19, &[], &[3, 4, 9]), "19 away=812"),
            (entry(u64::MAX, &[1, 2], &[7]), "18446744073709551615 full=6 away=08"),
        ] {
            assert_eq!((entry.text().as_str(), Entry::parse(text).as_ref()), (text, Some(&entry)));
        }
        let all: Vec<usize> = (0..300).collect();
        let fullest = entry(u64::MAX, &all, &all);
        assert!(fullest.text().len() < 200 && Entry::parse(&fullest.text()) == Some(fullest));
        assert_eq!(Entry::parse("7 later=xyz away=2 last"), Some(entry(7, &[], &[1])));
        for text in ["", "x", "-1", "full=1", "7 full=g", "7 away=é"] {
            assert_eq!(Entry::parse(text), None, "{text}");
        }
    }
}
