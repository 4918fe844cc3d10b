//! The history of an event, as people read it.

use chrono::{DateTime, Utc};
use outbox_postgres::operate::Transaction;
use outbox_transport::DEDUP_WINDOW;
use outbox_transport::operate::{At, SQS, State};

use super::life::{Enqueued, Life, NotIn, SourceDelivery};
use super::timeline;
use crate::safe::{line, literal};
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, counted, instant, moment, moment_of, name_or, or_dash};
use crate::stuck::not_visible;

const REASON_CHARS_MAX: usize = 500;
const CAUSE_CHARS_MAX: usize = 1000;

pub(super) fn tell(life: &Life) -> String {
    let mut told = vec![format!("event {}", life.id)];
    if let Some(Enqueued { source, event }) = &life.enqueued {
        let key = event.key.as_ref();
        let key = key.map_or_else(|| "no key".to_owned(), |key| format!("key {}", line(key, 100)));
        let (name, bytes) = (line(&event.name, NAME_CHARS_MAX), event.payload_bytes);
        told.push(format!("  {name}, {key}, {bytes} bytes of payload, from {source}"));
        told.push(String::new());
        told.push(format!("enqueued  {}", moment_of(event.occurred_at)));
        told.extend(put(life));
        let causes = life.waiting.iter().flat_map(|waiting| &waiting.causes);
        told.extend(causes.map(|cause| format!("          {}", line(cause, CAUSE_CHARS_MAX))));
    } else {
        told.push(String::new());
    }
    if let Some(parked) = &life.parked {
        told.push(format!(
            "parked    {}, as the bus refused it: {}: {}",
            moment_of(parked.parked_at),
            line(&parked.code, NAME_CHARS_MAX),
            line(&parked.reason, REASON_CHARS_MAX)
        ));
    }
    if let Some(dropped) = &life.dropped {
        told.push(format!("dropped   {}, after the bus refused it", dropped_by(dropped.at, &dropped.by)));
    }
    told.extend(timeline::lines(&life.history, None, life.on_sqs));
    if life.found.is_none() {
        told.push(
            "No database given: when it was enqueued and put is not known (set DATABASE_URL).".to_owned(),
        );
    }
    // Those whose last copy is gone.
    let mut gone = timeline::rpcs(&life.history);
    gone.retain(|rpc| life.deliveries.iter().all(|one| one.delivery.rpc != *rpc));
    if !life.deliveries.is_empty() || !gone.is_empty() {
        told.push(String::new());
    }
    for (n, one) in life.deliveries.iter().enumerate() {
        told.push(format!("{}\n  {}", line(&one.delivery.rpc, NAME_CHARS_MAX), delivery(one)));
        told.extend(one.causes.iter().map(|cause| format!("            {}", line(cause, CAUSE_CHARS_MAX))));
        if one.is_stranded() {
            told.push(
                "            the event_router.yaml here does not have this RPC: a worker with it does not receive this"
                    .to_owned(),
            );
        }
        // An RPC may have several copies, and has one history.
        let rpc = &one.delivery.rpc;
        if life.deliveries[n + 1..].iter().all(|later| later.delivery.rpc != *rpc) {
            told.extend(history(life, rpc));
        }
    }
    for rpc in gone {
        told.push(line(rpc, NAME_CHARS_MAX));
        told.extend(history(life, rpc));
    }
    if life.deliveries.is_empty() && life.history.is_empty() && life.put.is_some() {
        told.push(match &life.unlisted {
            Some(why) => format!("\n{}", line(why, REASON_CHARS_MAX)),
            None => "\nIt has no subscriber: it stays in the history only.".to_owned(),
        });
    }
    told.extend(nowhere(life));
    if !life.commands.is_empty() {
        told.push(String::new());
        told.extend(life.commands.iter().map(|command| format!("to repair: {command}")));
    }
    told.join("\n")
}

fn history(life: &Life, rpc: &str) -> impl Iterator<Item = String> {
    timeline::lines(&life.history, Some(rpc), life.on_sqs).into_iter().map(|text| format!("  {text}"))
}

fn put(life: &Life) -> Option<String> {
    if let Some(put) = &life.put {
        let by = put
            .relay
            .as_ref()
            .map(|relay| format!(" by {}", line(relay, NAME_CHARS_MAX)))
            .unwrap_or_default();
        return Some(match (put.at, put.before) {
            (Some(at), _) => format!("put       {}{by}", moment(at)),
            (None, Some(before)) => format!("put       before {} (exact time not known)", moment(before)),
            (None, None) => format!("put      {by}, at a time that is {NOT_KNOWN}"),
        });
    }
    if let Some(why) = life.put_not_known {
        return Some(format!("put       {NOT_KNOWN}: {why}"));
    }
    let waiting = life.waiting.as_ref()?;
    let ahead = match waiting.events_ahead.is_zero() {
        true => "it is the next".to_owned(),
        false => format!(
            "{} ahead of it, the oldest for {}",
            counted(waiting.events_ahead, "event"),
            age(waiting.lag_seconds)
        ),
    };
    Some(match &waiting.leader {
        None => format!("not put   no relay leads: start `relay` ({ahead})"),
        Some(leader) => {
            format!(
                "not put   {ahead}; {} (pid {}) relays",
                line(&leader.application, NAME_CHARS_MAX),
                leader.pid
            )
        }
    })
}

fn delivery(one: &SourceDelivery) -> String {
    match &one.delivery.state {
        State::Queued { since, ahead, why } => {
            let ahead = match ahead {
                Some(ahead) if ahead.is_zero() => ", the next".to_owned(),
                Some(ahead) => format!(", {} ahead of it", counted(ahead, "message")),
                None => String::new(),
            };
            let why =
                why.as_ref().map(|why| format!(" ({})", line(why, REASON_CHARS_MAX))).unwrap_or_default();
            format!("queued    {}{ahead}{why}", moment_of(*since))
        }
        State::Calling { worker, until, attempt } => {
            let attempt = attempt.map(|attempt| format!("attempt {attempt}, ")).unwrap_or_default();
            let worker = called_by(worker.as_deref());
            format!("called    {attempt}at this moment by {worker}, which has it until {}", moment_of(*until))
        }
        State::Abandoned { worker, until } => {
            format!(
                "abandoned {} had it until {} and did not say what became of it: it comes again",
                called_by(worker.as_deref()),
                moment_of(*until)
            )
        }
        State::Failed { attempt, at, code, error, due_at } => {
            let again = due_at.map_or_else(|| "comes again".to_owned(), next);
            let (code, error) = (line(code, NAME_CHARS_MAX), line(error, REASON_CHARS_MAX));
            match attempt {
                0 => format!("waits     not called yet: {code}: {error}; {again}"),
                _ => format!(
                    "failed    attempt {attempt} at {} with {code}: {error}; {again}",
                    at.known().map_or_else(|| NOT_KNOWN.to_owned(), instant)
                ),
            }
        }
        State::Done { at } => format!("done      {}", or_dash(at.map(moment_of))),
        State::Dead { at, attempts, code, reason } => {
            let attempts = attempts
                .map(|attempts| format!(" after {}", counted(attempts, "attempt")))
                .unwrap_or_default();
            format!(
                "dead      {}{attempts}: {}: {}",
                or_dash(at.map(moment_of)),
                line(code, NAME_CHARS_MAX),
                line(reason, REASON_CHARS_MAX)
            )
        }
        State::Dropped { at, by } => {
            let since = if one.source == SQS { ", and not received since" } else { "" };
            format!("dropped   {}{since}", dropped_by(*at, by))
        }
        State::NotReceived => "not received by a worker yet: on its way, in the queue, or dropped".to_owned(),
        State::Absent => {
            let days = DEDUP_WINDOW.as_secs() / (24 * 60 * 60);
            format!(
                "nowhere   it was put before this RPC subscribed, or what was recorded of it is gone ({days} days)"
            )
        }
    }
}

fn dropped_by(at: At, by: &str) -> String {
    format!("{} by {}", moment_of(at), line(by, NAME_CHARS_MAX))
}

fn called_by(worker: Option<&str>) -> String {
    worker.map_or_else(|| "a worker".to_owned(), |worker| format!("worker {}", line(worker, NAME_CHARS_MAX)))
}

fn next(at: At) -> String {
    match at.known() {
        None => format!("next at a time that is {NOT_KNOWN}"),
        Some(at) if at > Utc::now() => format!("next at {}", moment(at)),
        Some(_) => "due now".to_owned(),
    }
}

fn nowhere(life: &Life) -> Vec<String> {
    let Some(nowhere) = &life.nowhere else { return Vec::new() };
    let mut told = Vec::new();
    let is_older = |source| nowhere.made_at.is_some_and(|made| goes_back(made, source).is_some());
    let gone = nowhere.sources.iter().all(is_older);
    for source in &nowhere.sources {
        told.extend(not_in(nowhere.made_at, source));
    }
    let blind = nowhere.sources.iter().any(|source| source.blind_role.is_some());
    if life.deliveries.is_empty() && life.history.is_empty() && !gone && !blind {
        let open = nowhere.sources.iter().any(NotIn::may_come);
        let if_not = if open { "If it comes with none of them, its" } else { "Either its" };
        told.push(format!(
            "{if_not} transaction was rolled back, or it belongs to a database that was not named (--source)."
        ));
    }
    told
}

fn not_in(made_at: Option<DateTime<Utc>>, source: &NotIn) -> Vec<String> {
    let mut told = vec![format!("not in {}: {}", source.source, why_not(made_at, source))];
    told.extend(source.writing_transactions.iter().map(transaction));
    told.extend(
        source.prepared_transactions.iter().map(|gid| format!("  prepared transaction {}", literal(gid))),
    );
    if let Some(made) = made_at.filter(|_| source.may_come()) {
        let gone = goes_back(made, source);
        told.extend(gone.map(|gone| format!("  if it comes with none of them: {gone}")));
    }
    if let Some(role) = &source.blind_role {
        told.push(format!("  when the transactions of other roles began is {}", not_visible(role)));
    }
    told
}

impl NotIn {
    /// Whether an open transaction may still bring it.
    fn may_come(&self) -> bool {
        !self.writing_transactions.is_empty() || !self.prepared_transactions.is_empty()
    }
}

/// What is said of an id that is older than all events of an outbox.
fn goes_back(made: DateTime<Utc>, source: &NotIn) -> Option<String> {
    let oldest = source.oldest_event_at.filter(|oldest| made < *oldest)?;
    Some(format!(
        "its id is of {}, and the outbox goes back to {} (see --retention of relay)",
        instant(made),
        instant(oldest)
    ))
}

fn why_not(made_at: Option<DateTime<Utc>>, source: &NotIn) -> String {
    match made_at.and_then(|made| goes_back(made, source)) {
        // First: a young outbox may have only later events, while its transaction is open.
        _ if source.may_come() => {
            "it may still come with one of these transactions, which are open:".to_owned()
        }
        Some(gone) => gone,
        _ if source.blind_role.is_some() => {
            "whether a transaction may still commit it is not known:".to_owned()
        }
        _ if source.others_open => "no transaction is open that began before its id was made".to_owned(),
        _ => "no transaction is open that could still commit it".to_owned(),
    }
}

fn transaction(transaction: &Transaction) -> String {
    format!(
        "  pid {}, {}, role {}, open since {}, {}, last statement {}",
        transaction.pid,
        name_or(Some(&transaction.application), "no application name"),
        or_dash(transaction.user.as_deref().map(|role| line(role, NAME_CHARS_MAX))),
        transaction.began_at.map_or_else(|| "a time this role may not see".to_owned(), moment_of),
        transaction.state.as_deref().unwrap_or("state not visible to this role"),
        or_dash(transaction.last_statement_at.map(moment_of)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: an open transaction that may bring an event is named before its age, which in a young outbox means
    /// nothing.
    #[test]
    fn the_reason_why_it_is_nowhere_is_the_likeliest() {
        let made: DateTime<Utc> = "2026-11-26T06:00:00Z".parse().unwrap();
        let [earlier, later] = [-60, 60].map(|seconds| made + chrono::TimeDelta::seconds(seconds));
        let open = "it may still come with one of these transactions, which are open:";
        let none = "no transaction is open that could still commit it";
        let gone = "its id is of 2026-11-26T06:00:00Z, and the outbox goes back to 2026-11-26T06:01:00Z (see --retention of relay)";
        for (oldest, prepared, expected, if_not) in [
            (Some(later), true, open, Some(gone)),
            (Some(earlier), true, open, None),
            (None, true, open, None),
            (Some(later), false, gone, None),
            (Some(earlier), false, none, None),
            (None, false, none, None),
        ] {
            let source = NotIn {
                source: "cards".to_owned(),
                oldest_event_at: oldest,
                writing_transactions: Vec::new(),
                prepared_transactions: prepared.then(|| "batch".to_owned()).into_iter().collect(),
                others_open: false,
                blind_role: None,
            };
            let told = not_in(Some(made), &source);
            assert_eq!(told[0], format!("not in cards: {expected}"));
            let said = told.iter().find_map(|line| line.strip_prefix("  if it comes with none of them: "));
            assert_eq!(said, if_not, "{told:?}");
        }
    }
}
