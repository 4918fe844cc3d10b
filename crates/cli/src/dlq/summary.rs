//! `outbox dlq summary`: dead letters in groups of one RPC, code and masked reason.

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_transport::operate::{At, Filter, LOOKED_AT_MAX, Letter, Operator, thousands};
use serde::Serialize;

use super::args::Summary;
use crate::filter;
use crate::mask::{longest_part, masked};
use crate::pace::interrupted;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, counted, seconds_since, table};
use crate::stopped::Stopped;
use crate::transport::Work;

const REASON_CHARS_MAX: usize = 100;
/// A shorter part of a reason may be in others, too.
const PART_CHARS_MIN: usize = 4;

/// One group; the names are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Group {
    rpc: String,
    code: String,
    /// Numbers, ids and quotations are masked.
    reason: String,
    count: i64,
    first_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    /// The newest one.
    sample: String,
    sample_event: Option<EventId>,
    /// A part of each reason of the group, for --reason.
    part: Option<String>,
    redrive: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    groups: Vec<Group>,
    letters: i64,
    /// `false` if the reading stopped at its bound, or was interrupted.
    read_all: bool,
}

pub(super) struct Summing<'a>(pub(super) &'a Summary);

impl Work for Summing<'_> {
    async fn on<O: Operator>(self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let args = self.0;
        filter::rpc(&args.options, &transports, args.rpc.as_ref()).await?;
        let filter = Filter { rpc: args.rpc.clone(), without_bodies: true, ..Filter::default() };
        let (mut groups, mut read, mut read_all) = (Groups::default(), 0, true);
        for transport in &mut transports {
            let went = gather(transport, &filter, args.since, &mut groups, &mut read).await;
            transport.put_back().await;
            read_all &= went?;
        }
        let letters = groups.0.values().map(|group| group.count).sum();
        let mut groups = groups.sorted();
        complete(&mut groups, args);
        let answer = Answer { groups, letters, read_all };
        args.options.answer(&answer, || text(&answer))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns whether all were read.
async fn gather<O: Operator>(
    transport: &mut O,
    filter: &Filter,
    since: Option<DateTime<Utc>>,
    groups: &mut Groups,
    read: &mut usize,
) -> Result<bool, Stopped> {
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    while *read < LOOKED_AT_MAX {
        let letters = tokio::select! {
            letters = transport.next(filter) => letters?,
            () = &mut interrupted => return Ok(false),
        };
        if letters.is_empty() {
            return Ok(true);
        }
        *read += letters.len();
        for letter in &letters {
            if since.is_none_or(|since| letter.dead_at.known().is_none_or(|at| at >= since)) {
                groups.add(letter);
            }
        }
    }
    Ok(false)
}

#[derive(Debug, Default)]
struct Groups(BTreeMap<(String, String, String), Group>);

impl Groups {
    fn add<H>(&mut self, letter: &Letter<H>) {
        let Letter { id, rpc, event, code, reason, dead_at, .. } = letter;
        let key = (rpc.to_string(), code.clone(), masked(reason));
        let group = self.0.entry(key.clone()).or_insert_with(|| Group {
            rpc: key.0,
            code: key.1,
            reason: key.2,
            count: 0,
            first_at: None,
            last_at: None,
            sample: id.clone(),
            sample_event: *event,
            part: Some(longest_part(reason).to_owned()).filter(|part| part.chars().count() >= PART_CHARS_MIN),
            redrive: String::new(),
        });
        group.count += 1;
        group.widen(*dead_at, id, *event);
    }

    fn sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

impl Group {
    fn widen(&mut self, at: At, id: &str, event: Option<EventId>) {
        let Some(at) = at.known() else { return };
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        if self.last_at.is_none_or(|last| at >= last) {
            (self.last_at, self.sample, self.sample_event) = (Some(at), id.to_owned(), event);
        }
    }
}

/// The command for each group. A part of the reason is needed where RPC and code have another group, too.
fn complete(groups: &mut [Group], args: &Summary) {
    let same: Vec<usize> = groups
        .iter()
        .map(|one| groups.iter().filter(|other| (&other.rpc, &other.code) == (&one.rpc, &one.code)).count())
        .collect();
    for (group, same) in groups.iter_mut().zip(same) {
        let mut words = vec!["dlq", "redrive", "--rpc", &group.rpc, "--code", &group.code];
        if let Some(part) = group.part.as_deref().filter(|_| same > 1) {
            words.extend(["--reason", part]);
        }
        group.redrive = args.options.command(words);
    }
}

fn text(answer: &Answer) -> String {
    let mut lines = Vec::new();
    if answer.groups.is_empty() {
        lines.push("No dead letters.".to_owned());
    } else {
        let mut rows = table(["RPC", "CODE", "REASON", "LETTERS", "FIRST", "LAST", "SAMPLE"]);
        let ago =
            |at: Option<DateTime<Utc>>| at.map_or_else(|| NOT_KNOWN.to_owned(), |at| age(seconds_since(at)));
        for group in &answer.groups {
            rows.add_row([
                group.rpc.clone(),
                line(&group.code, NAME_CHARS_MAX),
                line(&group.reason, REASON_CHARS_MAX),
                thousands(group.count),
                ago(group.first_at),
                ago(group.last_at),
                group.sample.clone(),
            ]);
        }
        lines.push(rows.trim_fmt());
        let groups = counted(answer.groups.len(), "group");
        lines.push(format!("\n{} in {groups}", counted(thousands(answer.letters), "dead letter")));
    }
    if !answer.read_all {
        let max = thousands(i64::try_from(LOOKED_AT_MAX).unwrap_or(i64::MAX));
        lines.push(format!("Not all were read: it stops after {max}, or when it is interrupted."));
    }
    if !answer.groups.is_empty() {
        lines.push("\nto deliver them again, once the cause is gone:".to_owned());
        lines.extend(answer.groups.iter().map(|group| format!("  {}", group.redrive)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use outbox_event_router::Rpc;

    use super::*;

    /// Guards promise 8: alike letters are one group with its first, its last, and the newest as a sample. The largest group
    /// comes first.
    #[test]
    fn alike_letters_are_one_group() {
        let now = Utc::now();
        let letter = |id: &str, code: &str, reason: &str, minutes: i64| Letter {
            id: id.to_owned(),
            handle: (),
            rpc: Rpc::new("A/B").unwrap(),
            event: None,
            attempts: None,
            code: code.to_owned(),
            reason: reason.to_owned(),
            dead_at: (now - TimeDelta::minutes(minutes)).into(),
            body: String::new(),
            body_bytes: 0,
        };
        let mut groups = Groups::default();
        for one in [
            letter("1", "internal", "down", 5),
            letter("2", "internal", "card 7 is gone", 9),
            letter("3", "internal", "card 12 is gone", 2),
            letter("4", "unknown", "card 7 is gone", 1),
        ] {
            groups.add(&one);
        }
        let groups = groups.sorted();
        assert_eq!(groups.iter().map(|group| group.count).collect::<Vec<_>>(), [2, 1, 1]);
        let first = &groups[0];
        assert_eq!((first.reason.as_str(), first.sample.as_str()), ("card N is gone", "3"));
        assert_eq!(first.first_at, Some(now - TimeDelta::minutes(9)));
        assert_eq!(first.last_at, Some(now - TimeDelta::minutes(2)));
        assert_eq!(first.part.as_deref(), Some("is gone"));
    }
}
