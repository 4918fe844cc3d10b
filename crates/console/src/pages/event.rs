use maud::{Markup, html};

use crate::answers::{Delivery, Life, NotIn, Nowhere, Past, Problem, Status};
use crate::frame::Frame;
use crate::pages::timeline::timeline;
use crate::pages::{customer, remedy};
use crate::parts::{Tone, more, state};
use crate::shown::{NOT_KNOWN, age_or, count, short};

const TEXT_CHARS_MAX: usize = 500;
const PAST_MAX: usize = 60;

pub(crate) fn page(frame: &Frame, life: &Life) -> Markup {
    html! {
        (facts(frame, life))
        @if let Some(nowhere) = &life.nowhere { (not_in(frame, nowhere)) }
        (timeline(life, frame.now))
        (repairs(frame, life))
        section aria-labelledby="subscribers" {
            h2 #subscribers { "At each subscriber" }
            @if life.deliveries.is_empty() { p { "Nothing is known of a delivery." } }
            @for delivery in &life.deliveries { (subscriber(frame, life, delivery)) }
            (rest(frame, life))
        }
        @if let Some(text) = customer::text(life) {
            details { summary { "Text for the customer" } (frame.command(&text)) }
        }
        p.quiet { "Not shown: the payload, and the values of headers." }
    }
}

fn repairs(frame: &Frame, life: &Life) -> Markup {
    let status = Status::default();
    let as_problem = |command: &String| Problem { command: Some(command.clone()), ..Problem::default() };
    html! {
        @if !life.commands.is_empty() {
            section aria-labelledby="repair" {
                h2 #repair { "To repair it" }
                @for command in &life.commands {
                    @let (path, text) = remedy::place(&as_problem(command), &status);
                    div.row {
                        @if frame.may_repair() { a.act href=(frame.link(&path)) { (text) } }
                        (frame.command(command))
                    }
                }
            }
        }
    }
}

fn facts(frame: &Frame, life: &Life) -> Markup {
    html! {
        @match life.found {
            Some(false) => { p { (state(Tone::Bad, "○", "no outbox has it")) } }
            None => { p { "Whether an outbox has it is not known: no database is given." } }
            Some(true) => {}
        }
        @if let Some(why) = &life.unlisted { p { (state(Tone::Warning, "△", why)) } }
        dl {
            @if let Some(enqueued) = &life.enqueued {
                dt { "Name" } dd { (enqueued.name) }
                dt { "Key" } dd { (enqueued.key.as_deref().unwrap_or("none")) }
                dt { "Payload" } dd { (enqueued.payload_bytes.map_or_else(|| NOT_KNOWN.to_owned(), |many| format!("{many} bytes"))) }
                dt { "Enqueued" } dd { (frame.exact(enqueued.occurred_at)) " in " (enqueued.source) }
            }
            dt { "Put" }
            dd {
                @if let Some(put) = &life.put {
                    @match (put.at, put.before) {
                        (Some(at), _) => { (frame.exact(Some(at))) }
                        (None, Some(before)) => { "before " (frame.exact(Some(before))) ": the exact time is no longer known" }
                        (None, None) => { "at a time that is not known" }
                    }
                    @if let Some(relay) = &put.relay { " by " (relay) }
                } @else if let Some(why) = &life.put_not_known {
                    "not known: " (why)
                } @else if let Some(waiting) = &life.waiting {
                    "not yet: " (count(waiting.events_ahead)) " events are ahead of it"
                    @for cause in &waiting.causes { "; " (cause) }
                } @else { (NOT_KNOWN) }
            }
            @if let Some(parked) = &life.parked {
                dt { "Parked" }
                dd { (frame.exact(parked.parked_at)) ", " (parked.code) ": " (short(&parked.reason, TEXT_CHARS_MAX)) }
            }
            @if let Some(dropped) = &life.dropped {
                dt { "Dropped" } dd { (frame.exact(dropped.at)) " by " (dropped.by) }
            }
        }
    }
}

fn not_in(frame: &Frame, nowhere: &Nowhere) -> Markup {
    html! {
        p { "Its id was made " (frame.exact(nowhere.made_at)) "." }
        ul {
            @for one in &nowhere.sources {
                li {
                    "not in " (one.source) ", whose oldest event is of " (frame.exact(one.oldest_event_at)) ". "
                    (may_commit(one))
                    ul {
                        @for open in &one.writing_transactions {
                            li { "pid " (open.pid) ", " (open.application) ", open for " (age_or(open.age_seconds)) }
                        }
                        @for prepared in &one.prepared_transactions { li { "prepared: " (short(prepared, TEXT_CHARS_MAX)) } }
                    }
                }
            }
        }
    }
}

/// What this role does not see is not known.
fn may_commit(one: &NotIn) -> &'static str {
    match (one.writing_transactions.is_empty() && one.prepared_transactions.is_empty(), one.sees_transactions)
    {
        (true, true) => "No transaction is open that could still commit it.",
        (true, false) => {
            "Whether a transaction may still commit it is not known: this role does not see when those of others began (pg_read_all_stats)."
        }
        (false, true) => "These transactions could still commit it:",
        (false, false) => {
            "These transactions could still commit it. When those of other roles began is not known (pg_read_all_stats):"
        }
    }
}

fn subscriber(frame: &Frame, life: &Life, delivery: &Delivery) -> Markup {
    let past: Vec<&Past> =
        life.history.iter().filter(|past| past.rpc.as_deref() == Some(delivery.rpc.as_str())).collect();
    html! {
        h3 { (frame.rpc(&delivery.rpc)) }
        ol.past {
            @for one in past.iter().take(PAST_MAX) { (happened(frame, one)) }
            @if !is_last(&past, delivery) { li { (stands(frame, delivery)) } }
        }
        (more(past.len(), PAST_MAX, ""))
        @for cause in &delivery.causes { p { (cause) } }
    }
}

/// What happened last is how it stands.
fn is_last(past: &[&Past], delivery: &Delivery) -> bool {
    past.last().is_some_and(|last| last.what == delivery.state && last.at.is_some() && last.at == delivery.at)
}

/// What is of no subscriber that is listed.
fn rest(frame: &Frame, life: &Life) -> Markup {
    let listed =
        |past: &&Past| !life.deliveries.iter().any(|one| past.rpc.as_deref() == Some(one.rpc.as_str()));
    let rest: Vec<&Past> = life.history.iter().filter(listed).collect();
    html! {
        @if !rest.is_empty() {
            h3 { "Besides" }
            ol.past {
                @for one in rest.iter().take(PAST_MAX) {
                    li { @if let Some(rpc) = &one.rpc { (frame.rpc(rpc)) ": " } (words(frame, one)) }
                }
            }
            (more(rest.len(), PAST_MAX, ""))
        }
    }
}

fn happened(frame: &Frame, past: &Past) -> Markup {
    html! { li { (words(frame, past)) } }
}

fn words(frame: &Frame, past: &Past) -> Markup {
    let (tone, shape, word) = match past.what.as_str() {
        "failed" => (Tone::Warning, "✖", "failed"),
        "held" => (Tone::Warning, "▲", "held"),
        "lost" => (Tone::Warning, "○", "lost by its worker"),
        "dead" => (Tone::Bad, "✖", "dead"),
        "done" => (Tone::Good, "●", "done"),
        "redriven" => (Tone::Quiet, "◇", "redriven"),
        "replayed" => (Tone::Quiet, "◇", "replayed"),
        "moved" => (Tone::Quiet, "◇", "moved to another queue"),
        "dropped" => (Tone::Bad, "○", "dropped"),
        "taken_back" => (Tone::Quiet, "◇", "taken back"),
        "published_again" => (Tone::Quiet, "◇", "published again"),
        "removed" => (Tone::Bad, "○", "removed with its queue"),
        "left_out" => (Tone::Quiet, "…", "entries that are left out"),
        _ => (Tone::Quiet, "·", "not known to this version"),
    };
    html! {
        (frame.exact(past.at)) " " (state(tone, shape, word))
        @if let Some(attempt) = past.attempt { ", attempt " (attempt) }
        @if let Some(many) = past.entries { ": " (many) }
        (because(past.code.as_deref(), past.error.as_deref().or(past.reason.as_deref())))
        @if let Some(worker) = &past.worker { ", " (worker) }
        @if let Some(by) = &past.by { ", by " (by) }
    }
}

fn stands(frame: &Frame, one: &Delivery) -> Markup {
    let (tone, shape, word) = match one.state.as_str() {
        "queued" => (Tone::Quiet, "◷", "in its queue"),
        "calling" => (Tone::Quiet, "▶", "being called"),
        "abandoned" => (Tone::Warning, "○", "received, with no outcome yet"),
        "failed" => (Tone::Warning, "✖", "failed, another attempt follows"),
        "done" => (Tone::Good, "●", "done"),
        "dead" => (Tone::Bad, "✖", "dead"),
        "dropped" => (Tone::Bad, "○", "dropped"),
        "not_received" => (Tone::Quiet, "◷", "not received by a worker"),
        "absent" => (Tone::Warning, "○", "neither in the queue nor recorded"),
        _ => (Tone::Quiet, "·", "not known to this version"),
    };
    html! {
        (state(tone, shape, word))
        @if let Some(at) = one.at.or(one.since) { " " (frame.exact(Some(at))) }
        @if let Some(ahead) = one.ahead { ", " (count(Some(ahead))) " ahead of it" }
        @if let Some(attempt) = one.attempt { ", attempt " (attempt) }
        @if let Some(attempts) = one.attempts { ", after " (attempts) " attempts" }
        (because(one.code.as_deref(), one.error.as_deref().or(one.reason.as_deref())))
        @if let Some(why) = &one.why { ", " (why) }
        @if let Some(worker) = &one.worker { ", " (worker) }
        @if let Some(by) = &one.by { ", by " (by) }
        @if let Some(due) = one.due_at { ", next " (frame.exact(Some(due))) }
        @if let Some(until) = one.until { ", until " (frame.exact(Some(until))) }
    }
}

fn because(code: Option<&str>, text: Option<&str>) -> Markup {
    html! {
        @if let Some(code) = code { ", " code { (code) } }
        @if let Some(text) = text { @if !text.is_empty() { ": " (short(text, TEXT_CHARS_MAX)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Transaction;

    /// Guards promise 8: a role that does not see the transactions of others does not say that there are none.
    #[test]
    fn a_blind_role_does_not_know() {
        for (sees_transactions, open, begins, is_known) in [
            (true, 0, "No transaction is open", true),
            (false, 0, "Whether a transaction may still commit it is not known", false),
            (true, 1, "These transactions could still commit it:", true),
            (false, 1, "These transactions could still commit it.", false),
        ] {
            let writing_transactions = vec![Transaction::default(); open];
            let said = may_commit(&NotIn { sees_transactions, writing_transactions, ..NotIn::default() });
            assert!(said.starts_with(begins) && said.contains("not known") != is_known, "{said}");
        }
    }
}
