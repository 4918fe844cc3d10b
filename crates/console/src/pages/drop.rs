//! What a drop would take away, before it does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::answers::{Group, Letter, Parked, Queued};
use crate::ask::words;
use crate::frame::Frame;
use crate::pages::redrive::Group as Letters;
use crate::shown::{count, instant, query, short, stamp, thousands};

const TEXT_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 100;

/// So long a second person may confirm it.
pub(crate) const MINUTES: i64 = 10;

pub(crate) type Pairs = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Letters(Letters),
    Parked(String),
    Queue(String),
}

/// What one person asks another to confirm. It is signed, so nothing is kept here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Demand {
    pub(crate) pairs: BTreeMap<String, String>,
    /// Of letters.
    pub(crate) dead_by: Option<DateTime<Utc>>,
    pub(crate) found: i64,
    pub(crate) why: String,
    pub(crate) by: String,
    pub(crate) subject: Option<String>,
    pub(crate) until: i64,
}

impl What {
    /// Letters of one RPC: a drop of everything stays in the terminal.
    pub(crate) fn of(pairs: &Pairs) -> Option<Self> {
        let field = |name: &str| pairs.get(name).map_or("", |value| value.trim()).to_owned();
        let is_rpc = |rpc: &str| rpc.split_once('/').is_some_and(|(_, method)| !method.is_empty());
        match field("what").as_str() {
            "parked" => words::is_id(&field("id")).then(|| Self::Parked(field("id"))),
            "queue" => is_rpc(&field("rpc")).then(|| Self::Queue(field("rpc"))),
            "letters" => {
                let (rpc, code) = (field("rpc"), field("code"));
                let group = Letters { rpc, code, reason: field("reason"), event: field("event") };
                is_rpc(&group.rpc).then_some(Self::Letters(group))
            }
            _ => None,
        }
    }

    pub(crate) fn pairs(&self) -> Pairs {
        let pairs = match self {
            Self::Letters(group) => {
                let of = group.pairs();
                of.into_iter().chain([("what", "letters")]).collect::<Vec<_>>()
            }
            Self::Parked(id) => vec![("what", "parked"), ("id", id.as_str())],
            Self::Queue(rpc) => vec![("what", "queue"), ("rpc", rpc.as_str())],
        };
        let of = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        of.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) found: i64,
    /// Counting stops at 10,000.
    pub(crate) is_capped: bool,
    /// Of letters: what died later is not touched.
    pub(crate) dead_by: Option<DateTime<Utc>>,
    /// What must be typed. It is never empty.
    pub(crate) name: String,
    /// The oldest first.
    pub(crate) samples: Vec<Sample>,
}

impl Counted {
    fn many(&self, found: i64) -> String {
        if self.is_capped { count(Some(found)) } else { thousands(found) }
    }
}

/// Pure: what is typed for a parked event. The bus may have refused it for its name, which then may be empty, or no text for a field.
pub(crate) fn to_type<'a>(name: &'a str, id: &'a str) -> &'a str {
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || "_-.:/".contains(c));
    if is_plain && (1..=NAME_CHARS_MAX).contains(&name.chars().count()) { name } else { id }
}

#[derive(Debug)]
pub(crate) struct Sample {
    event: Option<String>,
    name: Option<String>,
    why: Option<String>,
    at: Option<DateTime<Utc>>,
}

impl From<Letter> for Sample {
    fn from(letter: Letter) -> Self {
        Self { event: letter.event, name: letter.event_name, why: Some(letter.reason), at: letter.dead_at }
    }
}

impl From<Parked> for Sample {
    fn from(parked: Parked) -> Self {
        Self {
            event: Some(parked.id),
            name: Some(parked.name),
            why: Some(parked.reason),
            at: parked.parked_at,
        }
    }
}

impl From<Queued> for Sample {
    fn from(queued: Queued) -> Self {
        Self { event: Some(queued.event), name: queued.event_name, why: queued.reason, at: queued.since }
    }
}

/// The link to the page that counts.
pub(crate) fn of_group(frame: &Frame, group: &Group) -> Markup {
    let part = group.part.as_deref().unwrap_or("");
    let pairs = [("what", "letters"), ("rpc", &group.rpc), ("code", &group.code), ("reason", part)];
    html! { @if frame.viewer.may_destroy { " " a.act href=(frame.link(&format!("/drop{}", query(&pairs)))) { "Drop…" } } }
}

pub(crate) fn of_letter(frame: &Frame, letter: &Letter) -> Markup {
    let Some(event) = &letter.event else { return html! {} };
    let pairs = [("what", "letters"), ("rpc", letter.rpc.as_str()), ("event", event)];
    html! { @if frame.viewer.may_destroy { p { a.act href=(frame.link(&format!("/drop{}", query(&pairs)))) { "Drop…" } } } }
}

pub(crate) fn page(frame: &Frame, what: &What, counted: &Counted) -> Markup {
    html! {
        (shown(frame, what, counted))
        @if counted.found == 0 && !matches!(what, What::Queue(_)) { p { "There is nothing to drop." } }
        @else {
            form.change method="post" action=(frame.link("/drop")) {
                input type="hidden" name="form_token" value=(frame.form_token);
                @for (name, value) in what.pairs() { input type="hidden" name=(name) value=(value); }
                @if let Some(dead_by) = counted.dead_by { input type="hidden" name="dead_by" value=(stamp(dead_by)); }
                label { "Type " strong { (counted.name) } " " input name="typed" required autocomplete="off"; }
                label { "Why (kept in the audit) " input name="why" required maxlength="500" autocomplete="off"; }
                button type="submit" { "Drop " (counted.many(counted.found)) " for good" @if matches!(what, What::Queue(_)) { ", and the queue" } }
            }
        }
    }
}

/// Of a second person.
pub(crate) fn confirm(
    frame: &Frame,
    what: &What,
    counted: &Counted,
    demand: &Demand,
    signed: [(&str, &str); 2],
) -> Markup {
    html! {
        p { strong { (demand.by) } " asks you to confirm it: " (short(&demand.why, 500)) }
        @if counted.found != demand.found { p { (counted.many(demand.found)) " were counted when it was asked for." } }
        (shown(frame, what, counted))
        form.change method="post" action=(frame.link("/drop")) {
            input type="hidden" name="form_token" value=(frame.form_token);
            @for (name, value) in signed { input type="hidden" name=(name) value=(value); }
            button type="submit" { "Confirm: drop " (counted.many(counted.found)) " for good" }
        }
    }
}

/// For another person.
pub(crate) fn link(frame: &Frame, path: &str) -> Markup {
    html! {
        p { "Nothing is dropped yet. Within " (MINUTES) " minutes another person who may drop opens this address and confirms it:" }
        p { a href=(frame.link(path)) { "Confirm the drop" } }
    }
}

fn shown(frame: &Frame, what: &What, counted: &Counted) -> Markup {
    html! {
        dl {
            @for (name, value) in what.pairs() { dt { (name) } dd { (value) } }
            dt { "Count" } dd { (counted.many(counted.found)) }
            dt { "Oldest" }
            dd { @match counted.samples.first() { Some(one) => { (frame.time(one.at)) } None => { "not known" } } }
        }
        @if let Some(dead_by) = counted.dead_by { p { "Counted at " (instant(dead_by)) ". What died later is not touched." } }
        @if !counted.samples.is_empty() {
            p { "For example:" }
            ul {
                @for one in &counted.samples {
                    li {
                        @match &one.event { Some(event) => { (frame.event(event)) } None => { "not known" } }
                        " " (one.name.as_deref().unwrap_or("not known")) " " (frame.time(one.at))
                        @if let Some(why) = &one.why { ": " (short(why, TEXT_CHARS_MAX)) }
                    }
                }
            }
        }
        p { "That can't be taken back. " a href=(frame.link("/audit")) { "Audit" } " keeps who did it, and why." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what must be typed is a text that a person can type, whatever name an event has.
    #[test]
    fn a_name_that_can_not_be_typed_is_none() {
        let long = "x".repeat(101);
        for (name, typed) in [
            ("event_one", "event_one"),
            ("événement.é:1/a-b", "événement.é:1/a-b"),
            ("", "7"),
            (" ", "7"),
            (" event_one", "7"),
            ("event\none", "7"),
            ("a b", "7"),
            (&long, "7"),
        ] {
            assert_eq!(to_type(name, "7"), typed, "{name:?}");
        }
    }

    /// Guards promise 8: a number at which counting stopped is not shown as the number of all.
    #[test]
    fn a_count_that_stopped_says_so() {
        let counted = |found, is_capped| Counted {
            found,
            is_capped,
            dead_by: None,
            name: "Post".to_owned(),
            samples: Vec::new(),
        };
        for (found, is_capped, many) in
            [(10_000, true, "10,000+"), (9_999, true, "9,999"), (12_345, false, "12,345")]
        {
            assert_eq!(counted(found, is_capped).many(found), many);
        }
    }
}
