//! Pure: an RPC whose calls all fail, and events that no RPC gets.

use outbox_finding::closest;
use outbox_postgres::operate::UnknownEvent;

use super::answer::{Problem, RpcStatus, SourceStatus};
use crate::options::Options;
use crate::running::Failing;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, counted, moment_of};

/// A few failures in a row are usual while a server restarts.
const FAILED_MIN: u64 = 5;
const ERROR_CHARS_MAX: usize = 200;

/// Calls that all fail, while there is still something to deliver.
pub(super) fn of_rpc(rpc: &RpcStatus, options: &Options) -> Option<Problem> {
    let Failing { in_row, error, since_success } = &rpc.serving.failing;
    let depth = &rpc.depth;
    let waits = [depth.waiting, depth.hidden, depth.retrying.unwrap_or_default()];
    if *in_row < FAILED_MIN || !since_success || waits.iter().all(|count| count.is_zero()) {
        return None;
    }
    let error = error.as_ref().map(|error| {
        format!(
            ", the last with {}: {}",
            line(&error.code, NAME_CHARS_MAX),
            line(&error.text, ERROR_CHARS_MAX)
        )
    });
    let problem = format!("the last {in_row} calls of {} failed{}", depth.rpc, error.unwrap_or_default());
    let command = options.command(["dlq", "list", "--rpc", &depth.rpc]);
    Some(Problem::remedy(
        problem,
        &format!(
            "see the log of its server; the workers try again until the attempts end, and then: {command}"
        ),
    ))
}

/// Names that event_router.yaml does not list, and that were published within the last day.
pub(super) fn of_source(source: &SourceStatus) -> Vec<Problem> {
    let of_name = |unknown: &UnknownEvent| {
        let meant = closest(&unknown.name, source.known_events.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
        Problem::remedy(
            format!(
                "{} of {} since {} reached nobody: event_router.yaml does not list '{}'{meant}",
                counted(unknown.events, "event"),
                source.source,
                moment_of(unknown.first_at),
                line(&unknown.name, NAME_CHARS_MAX)
            ),
            "correct the name where it is published; or list it, with `subscriber: []` if nobody should get it",
        )
    };
    source.unknown_events.iter().map(of_name).collect()
}
