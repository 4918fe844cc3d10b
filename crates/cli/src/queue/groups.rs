//! Messages of queues, counted by what they have in common. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_transport::operate::{InQueue, thousands};
use serde::Serialize;

use super::args::{By, List};
use super::gather::{Reach, bound};
use crate::mask::masked;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, seconds_since, table};

/// More groups are counted as one.
const GROUPS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Groups {
    by: By,
    /// By source, RPC and value.
    groups: BTreeMap<(String, String, Option<String>), Group>,
    others: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Group {
    source: String,
    rpc: String,
    /// `null` without one.
    value: Option<String>,
    count: i64,
    oldest_at: Option<DateTime<Utc>>,
    sample: EventId,
}

/// The largest groups; the names are stable.
#[derive(Debug)]
pub(super) struct Largest {
    by: By,
    groups: Vec<Group>,
    others: i64,
}

impl Groups {
    pub(super) fn new(by: By) -> Self {
        Self { by, groups: BTreeMap::new(), others: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Always returns `true`: there is no end to counting.
    pub(super) fn add(&mut self, source: &str, one: &InQueue) -> bool {
        let value = match &self.by {
            By::Reason => one.reason.as_deref().map(masked),
            By::Name => one.event_name.clone(),
            By::Key => one.key.clone(),
            By::Header(_) => one.header.clone(),
        };
        let key = (source.to_owned(), one.rpc.clone(), value.clone());
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.others += 1;
            return true;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group {
            source: source.to_owned(),
            rpc: one.rpc.clone(),
            value,
            count: 0,
            oldest_at: None,
            sample: one.event,
        });
        group.count += 1;
        if let Some(at) = one.since.known()
            && group.oldest_at.is_none_or(|oldest| at < oldest)
        {
            (group.oldest_at, group.sample) = (Some(at), one.event);
        }
        true
    }

    pub(super) fn largest(self, limit: usize) -> Largest {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let beyond: i64 = groups.iter().skip(limit).map(|group| group.count).sum();
        groups.truncate(limit);
        Largest { by: self.by, groups, others: self.others + beyond }
    }
}

impl Largest {
    pub(super) fn json(&self, reach: &Reach) -> serde_json::Value {
        serde_json::json!({
            "groups": self.groups,
            "in_other_groups": self.others,
            "looked_at": reach.looked_at,
            "looked_at_all": reach.goes_on(),
        })
    }

    pub(super) fn text(&self, reach: &Reach, args: &List) -> String {
        let mut lines = Vec::new();
        match self.groups.first() {
            None => lines.push("No such messages.".to_owned()),
            Some(first) => {
                let several = self.groups.iter().any(|group| group.source != first.source);
                let what = match &self.by {
                    By::Reason => "REASON".to_owned(),
                    By::Name => "NAME".to_owned(),
                    By::Key => "KEY".to_owned(),
                    By::Header(name) => line(name, NAME_CHARS_MAX).to_uppercase(),
                };
                let mut rows = table([
                    "RPC",
                    &what,
                    "MESSAGES",
                    "OLDEST",
                    "SAMPLE",
                    if several { "SOURCE" } else { "" },
                ]);
                for group in &self.groups {
                    rows.add_row([
                        group.rpc.clone(),
                        group
                            .value
                            .as_deref()
                            .map_or_else(|| "-".to_owned(), |value| line(value, NAME_CHARS_MAX)),
                        thousands(group.count),
                        group.oldest_at.map_or_else(|| NOT_KNOWN.to_owned(), |at| age(seconds_since(at))),
                        group.sample.to_string(),
                        if several { group.source.clone() } else { String::new() },
                    ]);
                }
                lines.push(rows.trim_fmt());
            }
        }
        if self.others > 0 {
            lines.push(format!(
                "\n{} more in other groups: --limit is {}.",
                thousands(self.others),
                args.limit
            ));
        }
        lines.extend(bound(reach));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use outbox_transport::operate::{Spot, Stage};

    use super::*;

    fn message(reason: Option<&str>, key: Option<&str>, minutes: i64) -> InQueue {
        let event = EventId::new();
        InQueue {
            rpc: "A/B".to_owned(),
            event,
            event_name: None,
            key: key.map(str::to_owned),
            header: None,
            state: Stage::Retrying,
            since: (Utc::now() - TimeDelta::minutes(minutes)).into(),
            attempts: 1,
            code: None,
            reason: reason.map(str::to_owned),
            due_at: None,
            worker: None,
            spot: Spot { seq: 1, event, logged: false },
        }
    }

    /// Guards promise 8: alike reasons are one group, the largest comes first with its oldest message, and what is not shown is
    /// counted.
    #[test]
    fn groups_have_their_number_and_their_oldest() {
        let all = [
            message(Some("card 7 is gone"), None, 1),
            message(Some("card 12 is gone"), None, 9),
            message(Some("down"), None, 3),
            message(None, None, 2),
        ];
        let mut groups = Groups::new(By::Reason);
        assert!(groups.is_empty());
        assert!(all.iter().all(|one| groups.add("cards", one)));
        let largest = groups.largest(1);
        assert_eq!((largest.groups.len(), largest.others), (1, 2));
        let first = &largest.groups[0];
        assert_eq!((first.value.as_deref(), first.count), (Some("card N is gone"), 2));
        assert_eq!(first.sample, all[1].event);
    }
}
