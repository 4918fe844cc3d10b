//! What a person reads of `outbox status`. Pure.

use outbox_transport::operate::{At, SQS, Undeliverable};

use super::answer::{Problem, RpcStatus, SourceStatus, Status};
use super::lately;
use super::processes;
use super::workers::Breaker;
use crate::colour::Colour;
use crate::running::Running;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, bytes, instant, moment_of, name_or, or_dash, table};
use crate::stuck;

/// `of_one`: an RPC was named.
pub(super) fn text(status: &Status, running: &Running, of_one: bool, problems_first: bool) -> String {
    let mut parts = Vec::new();
    for source in &status.sources {
        parts.push(of_source(source));
    }
    if status.sources.is_empty() {
        parts.push("No database given: the relay's half is not shown (set DATABASE_URL).".to_owned());
    }
    parts.push(of_rpcs(status));
    parts.extend(pages(status));
    if of_one {
        parts.extend(lately::text(&status.rpcs));
    }
    parts.extend(processes::text(running, status.sources.len() > 1));
    if !status.notices.is_empty() {
        let notice = |notice: &Problem| notice.to_string() + &page(notice);
        parts.push(status.notices.iter().map(notice).collect::<Vec<_>>().join("\n"));
    }
    let at = if problems_first { 0 } else { parts.len() };
    parts.insert(at, of_problems(status, of_one));
    parts.join("\n\n")
}

fn of_problems(status: &Status, of_one: bool) -> String {
    let blind = status.sources.iter().any(|source| !source.sees_transactions);
    match (status.problems.is_empty(), blind) {
        (true, false) if of_one => {
            Colour::paint(Some(Colour::Good), "Nothing is stuck, as far as it is shown.")
        }
        (true, false) => Colour::paint(Some(Colour::Good), "Nothing is stuck."),
        (true, true) => Colour::paint(Some(Colour::Warning), "Nothing that this role sees is stuck."),
        (false, _) => {
            let red = |problem: &Problem| {
                Colour::paint(Some(Colour::Problem), &problem.to_string()) + &page(problem)
            };
            status.problems.iter().map(red).collect::<Vec<_>>().join("\n")
        }
    }
}

/// On a line of its own, so that it can be opened and pasted.
fn page(problem: &Problem) -> String {
    problem.console_url.as_ref().map(|url| format!("\n  {url}")).unwrap_or_default()
}

/// The pages of the RPCs. No column, because a narrow terminal would break them.
fn pages(status: &Status) -> Option<String> {
    let (console, said) = status.console.as_ref()?;
    let mut lines = vec![(*said).to_owned(), format!("  {console}/")];
    for url in status.rpcs.iter().filter_map(|rpc| rpc.console_url.as_ref()) {
        let url = format!("  {url}");
        // Several databases may have one RPC.
        if !lines.contains(&url) {
            lines.push(url);
        }
    }
    Some(lines.join("\n"))
}

fn of_source(source: &SourceStatus) -> String {
    let leader = source.leader.as_ref().map_or_else(
        || "no relay leads".to_owned(),
        |leader| {
            let address =
                leader.address.as_deref().map(|address| format!(" from {address}")).unwrap_or_default();
            let since = leader
                .connected_at
                .and_then(At::known)
                .map(|at| format!(", since {}", instant(at)))
                .unwrap_or_default();
            format!("{}, pid {}{address}{since}", line(&leader.application, NAME_CHARS_MAX), leader.pid)
        },
    );
    let put = match (source.put_at, &source.put_by) {
        _ if source.restored => format!("{NOT_KNOWN}: the cursor is of another server"),
        (Some(at), Some(by)) => format!("{} by {}", moment_of(at), line(by, NAME_CHARS_MAX)),
        _ => "nothing yet".to_owned(),
    };
    let waiting = match source.waiting_events {
        None => NOT_KNOWN.to_owned(),
        Some(events) if events.is_zero() => "0".to_owned(),
        Some(events) => format!("{events}, the oldest for {}", age(source.lag_seconds.unwrap_or_default())),
    };
    let transaction = source.oldest_transaction.as_ref().map_or_else(
        || source.blind_role.as_deref().map_or_else(|| "none".to_owned(), stuck::not_visible),
        |transaction| {
            format!(
                "{}, pid {}, {}, {}{}",
                or_dash(transaction.age_seconds.map(age)),
                transaction.pid,
                name_or(Some(&transaction.application), "-"),
                transaction.state.as_deref().unwrap_or("state not visible to this role"),
                if transaction.writes { ", has written" } else { "" },
            )
        },
    );
    let mut rows = table(["SOURCE", &source.source]);
    let bad = |is_bad: bool| is_bad.then_some(Colour::Problem);
    rows.add_coloured([("leader", None), (leader.as_str(), bad(source.leader.is_none()))]);
    rows.add_row(["waiting to be put", &waiting]);
    rows.add_row(["last put", &put]);
    let parked = source.parked.to_string();
    rows.add_coloured([("parked", None), (parked.as_str(), bad(!source.parked.is_zero()))]);
    rows.add_row(["oldest transaction", &transaction]);
    rows.add_row(["outbox on disk", &bytes(source.outbox_bytes)]);
    rows.trim_fmt()
}

fn of_rpcs(status: &Status) -> String {
    if status.rpcs.is_empty() {
        return "No queue yet: relay and worker make them from event_router.yaml.".to_owned();
    }
    let several = status.sources.len() > 1;
    let mut rows = table([
        "RPC",
        "WAITING",
        "OLDEST",
        "IN WORK",
        "RETRYING",
        "DEAD",
        "BREAKER",
        "CALLS",
        if several { "SOURCE" } else { "" },
    ]);
    for rpc in &status.rpcs {
        let depth = &rpc.depth;
        let known = |text: String| if depth.missing.is_some() { "-".to_owned() } else { text };
        let retrying = depth.retrying.map_or_else(|| "?".to_owned(), |count| count.to_string());
        rows.add_coloured([
            (line(&depth.rpc, NAME_CHARS_MAX), None),
            (known(depth.waiting.to_string()), None),
            (or_dash(depth.oldest_seconds.map(age)), None),
            (known(in_work(rpc)), None),
            (known(retrying), None),
            (known(depth.dead.to_string()), (!depth.dead.is_zero()).then_some(Colour::Problem)),
            breaker(rpc),
            (calls(rpc), None),
            (if several { rpc.source.clone() } else { String::new() }, None),
        ]);
    }
    let mut text = rows.trim_fmt();
    let unknown = status.rpcs.iter().any(|rpc| rpc.breaker.is_none() || rpc.calls.is_none());
    if unknown {
        text.push_str("\n? no running worker reports this RPC");
    }
    if status.rpcs.iter().any(|rpc| rpc.depth.retrying.is_none() && rpc.source == SQS) {
        text.push_str("\nIN WORK on SQS includes what waits for its next attempt; the age of the oldest is in CloudWatch.");
    }
    if let Some(Undeliverable { queue, messages }) = &status.undeliverable {
        text.push_str(&format!("\nundeliverable for EventBridge ({queue}): {messages}"));
    }
    text
}

/// A pause is shown in place of the breaker, because it is why nothing is called.
fn breaker(rpc: &RpcStatus) -> (String, Option<Colour>) {
    match (&rpc.pause, rpc.breaker) {
        (Some(_), _) => ("paused".to_owned(), Some(Colour::Warning)),
        (None, Some(breaker)) => (breaker.as_str().to_owned(), colour(breaker)),
        (None, None) => ("?".to_owned(), None),
    }
}

fn colour(breaker: Breaker) -> Option<Colour> {
    match breaker {
        Breaker::Closed => None,
        Breaker::HalfOpen => Some(Colour::Warning),
        Breaker::Open | Breaker::Held => Some(Colour::Problem),
    }
}

/// A worker receives no more than it may call. Claims of workers that were killed are above that, and on SQS retries are
/// counted, too: then there is no maximum.
fn in_work(rpc: &RpcStatus) -> String {
    let (hidden, calls_max) = (rpc.depth.hidden, i64::try_from(rpc.serving.calls_max).unwrap_or(i64::MAX));
    match rpc.source != SQS && calls_max > 0 && hidden.get() <= calls_max {
        true => format!("{hidden} of {calls_max}"),
        false => hidden.to_string(),
    }
}

/// `3 of 32`
fn calls(rpc: &RpcStatus) -> String {
    match rpc.calls {
        None => "?".to_owned(),
        Some(calls) if rpc.serving.calls_max == 0 => calls.to_string(),
        Some(calls) => format!("{calls} of {}", rpc.serving.calls_max),
    }
}
