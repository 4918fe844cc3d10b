//! What an irreversible command is about to change: the number, the kinds, and the oldest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox_transport::operate::{At, thousands};

use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, counted, seconds_since};

/// So many kinds are shown.
const KINDS_MAX: usize = 3;
const SAMPLE_CHARS_MAX: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Counted {
    count: i64,
    kinds: BTreeMap<String, i64>,
    oldest: Option<(DateTime<Utc>, String)>,
    newest: Option<DateTime<Utc>>,
}

impl Counted {
    /// One thing of a kind, with a text that makes it recognizable.
    pub(crate) fn add(&mut self, kind: &str, at: At, sample: impl FnOnce() -> String) {
        self.count += 1;
        *self.kinds.entry(line(kind, NAME_CHARS_MAX * 2)).or_default() += 1;
        let Some(at) = at.known() else { return };
        if self.oldest.as_ref().is_none_or(|(oldest, _)| at < *oldest) {
            self.oldest = Some((at, line(&sample(), SAMPLE_CHARS_MAX)));
        }
        self.newest = self.newest.max(Some(at));
    }

    pub(crate) fn count(&self) -> i64 {
        self.count
    }

    /// Whether it was there when the question was asked. What is younger was not part of it.
    pub(crate) fn covers(&self, at: At) -> bool {
        at.known().is_none_or(|at| self.newest.is_some_and(|newest| at <= newest))
    }

    /// `2 dead letters (1 of A/B with internal, 1 of A/C with unknown; the oldest is dead for 1h 2m: event ID, why)`
    pub(crate) fn text(&self, noun: &str, state: &str) -> String {
        let mut kinds: Vec<(&String, &i64)> = self.kinds.iter().collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), *kind));
        let mut parts: Vec<String> = kinds
            .iter()
            .take(KINDS_MAX)
            .map(|(kind, count)| format!("{} of {kind}", thousands(**count)))
            .collect();
        if kinds.len() > KINDS_MAX {
            parts.push(format!("{} more", counted(kinds.len() - KINDS_MAX, "kind")));
        }
        let mut text = counted(thousands(self.count), noun);
        if !parts.is_empty() {
            text.push_str(&format!(" ({}", parts.join(", ")));
            if let Some((at, sample)) = &self.oldest {
                text.push_str(&format!("; the oldest is {state} for {}: {sample}", age(seconds_since(*at))));
            }
            text.push(')');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    /// Guards promise 8: a question has the number, the most frequent kinds, and the oldest, on one line. What comes after it
    /// is not part of it.
    #[test]
    fn a_question_has_the_number_the_kinds_and_the_oldest() {
        let mut all = Counted::default();
        assert_eq!(all.text("dead letter", "dead"), "0 dead letters");
        let now = Utc::now();
        for (n, kind) in ["a", "b", "b", "c\nd", "e", "f"].into_iter().enumerate() {
            let at = now - TimeDelta::minutes(n as i64 + 1);
            all.add(kind, at.into(), || format!("event {n}\nforged"));
        }
        assert_eq!(
            all.text("dead letter", "dead"),
            "6 dead letters (2 of b, 1 of a, 1 of c d, 2 kinds more; the oldest is dead for 6m: event 5 forged)"
        );
        assert!(all.covers((now - TimeDelta::minutes(1)).into()) && !all.covers(now.into()));
    }
}
