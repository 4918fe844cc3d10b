//! Mistyped filters: a word that can match nothing is a mistake, and the nearest known word is shown.

use outbox_event_router::{Router, Rpc};
use outbox_postgres::operate::{Outbox, ParkedFilter};
use outbox_transport::operate::{About, Filter, Operator, SQS};

use crate::options::Options;
use crate::stopped::Stopped;

/// The codes of dead letters: Connect's, and those of worker, queue and retention.
const LETTER_CODES: [&str; 23] = [
    "aborted",
    "already_exists",
    "attempts_exhausted",
    "canceled",
    "data_loss",
    "deadline_exceeded",
    "expired",
    "failed_precondition",
    "given_up",
    "internal",
    "invalid_argument",
    "malformed_message",
    "not_found",
    "out_of_range",
    "permission_denied",
    "redrive_policy",
    "resource_exhausted",
    "unauthenticated",
    "unavailable",
    "unimplemented",
    "unknown",
    "worker_panic",
    "wrong_queue",
];
/// The codes of messages that wait, besides.
const QUEUE_CODES: [&str; 5] = ["lease_expired", "redrive", "replay", "set_aside", "waiting"];
/// The codes of parked events: the relay's, and those of EventBridge that it refuses for good.
const PARKED_CODES: [&str; 5] =
    ["EntryTooLarge", "InvalidArgument", "MalformedDetail", "MalformedEvent", "RedactionFailure"];
const SHOWN_MAX: usize = 30;

/// An RPC is known if event_router.yaml has it, or a database has a queue of it.
pub(crate) async fn rpc(
    options: &Options,
    transports: &[impl Operator],
    rpc: Option<&Rpc>,
) -> Result<(), Stopped> {
    let Some(rpc) = rpc else { return Ok(()) };
    let mut known: Vec<String> = match options.router()? {
        Some(router) => router.rpcs().map(|(rpc, _)| rpc.to_string()).collect(),
        None => Vec::new(),
    };
    if known.iter().any(|one| one == rpc.as_str()) {
        return Ok(());
    }
    for transport in transports {
        known.extend(transport.queues().await?.iter().map(Rpc::to_string));
    }
    among("RPC", rpc.as_str(), known.iter().map(String::as_str))
}

/// A code is known if it is one of ours, or a letter has it.
pub(crate) async fn letter_code(
    transports: &mut [impl Operator],
    code: Option<&String>,
) -> Result<(), Stopped> {
    let Some(code) = code else { return Ok(()) };
    if LETTER_CODES.contains(&code.as_str()) {
        return Ok(());
    }
    let filter = Filter { code: Some(code.clone()), ..Filter::default() };
    for transport in transports {
        let found = transport.next(&filter).await;
        transport.put_back().await;
        if !found?.is_empty() {
            return Ok(());
        }
    }
    among("code", code, LETTER_CODES)
}

/// A name is known if event_router.yaml or a letter has it.
pub(crate) async fn letter_name(
    options: &Options,
    transports: &mut [impl Operator],
    about: &About,
) -> Result<(), Stopped> {
    let (Some(name), Some(router)) = (&about.name, options.router()?) else { return Ok(()) };
    if event(&router, name).is_ok() {
        return Ok(());
    }
    let about = About { name: Some(name.clone()), ..About::default() };
    let filter = Filter { about, limit: Some(1), ..Filter::default() };
    for transport in transports {
        let found = transport.next(&filter).await;
        transport.put_back().await;
        if !found?.is_empty() {
            return Ok(());
        }
    }
    event(&router, name)
}

/// The newest of a queue of SQS are not known before all were read.
pub(crate) fn ordered(transports: &[impl Operator], filter: &Filter) -> Result<(), Stopped> {
    if filter.newest_first && transports.iter().any(|transport| transport.source() == SQS) {
        return Err(Stopped::unusable(
            "SQS has no order, so --newest is not possible here",
            "see `outbox dlq list`, and pass --event ID",
        ));
    }
    Ok(())
}

/// After a search that found nothing: whether its code and its event name can be found at all.
pub(crate) fn found_nothing(
    options: &Options,
    code: Option<&str>,
    name: Option<&str>,
) -> Result<(), Stopped> {
    if let Some(code) = code {
        among("code", code, LETTER_CODES.into_iter().chain(QUEUE_CODES))?;
    }
    match (name, options.router()?) {
        (Some(name), Some(router)) => event(&router, name),
        _ => Ok(()),
    }
}

/// As [`letter_code`], for parked events; a name is known if event_router.yaml or a parked event has it.
pub(crate) async fn parked(
    options: &Options,
    outboxes: &[Outbox],
    filter: &ParkedFilter,
) -> Result<(), Stopped> {
    if let Some(code) = &filter.code
        && !PARKED_CODES.contains(&code.as_str())
        && !is_parked(outboxes, ParkedFilter { code: Some(code.clone()), ..ParkedFilter::default() }).await?
    {
        among("code", code, PARKED_CODES)?;
    }
    let Some(name) = &filter.event_name else { return Ok(()) };
    if is_parked(outboxes, ParkedFilter { event_name: Some(name.clone()), ..ParkedFilter::default() }).await?
    {
        return Ok(());
    }
    match options.router()? {
        Some(router) => event(&router, name),
        // It is not known which names there are.
        None => Ok(()),
    }
}

pub(crate) fn routed(router: &Router, rpc: &Rpc) -> Result<(), Stopped> {
    among("RPC", rpc.as_str(), router.rpcs().map(|(rpc, _)| rpc.as_str()))
}

pub(crate) fn event(router: &Router, name: &str) -> Result<(), Stopped> {
    among("event", name, router.events().map(|(name, _)| name))
}

async fn is_parked(outboxes: &[Outbox], filter: ParkedFilter) -> Result<bool, Stopped> {
    for outbox in outboxes {
        if !outbox.parked(&filter, None, i64::MAX, 1).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pure: whether a word is among the known ones, and which one was meant if not.
fn among<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> Result<(), Stopped> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&word) {
        return Ok(());
    }
    let remedy = match outbox_finding::closest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => {
            "none is known: no queue is made yet, and there is no event_router.yaml here".to_owned()
        }
        None => {
            let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
            known.truncate(SHOWN_MAX);
            format!("there are {}{more}", known.join(", "))
        }
    };
    Err(Stopped::unusable(format!("there is no {what} {word}"), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a known word passes, a near one is suggested, and otherwise the known ones are listed.
    #[test]
    fn a_mistyped_word_has_a_remedy() {
        let known = ["unavailable", "internal", "invalid_argument"];
        for (word, remedy) in [
            ("internal", None),
            ("unavailible", Some("did you mean unavailable?")),
            ("invalid_arg", Some("did you mean invalid_argument?")),
            ("INTERNAL", Some("there are internal, invalid_argument, unavailable")),
            ("", Some("there are internal, invalid_argument, unavailable")),
        ] {
            let said = among("code", word, known).err();
            assert_eq!(said.as_ref().map(|said| said.remedy.as_str()), remedy, "{word}");
            assert!(said.is_none_or(|said| said.code() == 2 && said.problem == format!("there is no code {word}")));
        }
        let none = among("RPC", "A/B", []).unwrap_err();
        assert!(none.remedy.starts_with("none is known"), "{}", none.remedy);
        let many: Vec<String> = (0..50).map(|n| format!("Service{n}/Method")).collect();
        let said = among("RPC", "A/B", many.iter().map(String::as_str)).unwrap_err();
        assert!(said.remedy.ends_with(", …"), "{}", said.remedy);
    }
}
