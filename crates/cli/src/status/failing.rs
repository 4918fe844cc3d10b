//! Pure: an RPC whose calls all fail, an event that fails again and again, and events that no RPC gets.

use outbox_finding::closest;
use outbox_postgres::operate::UnknownEvent;
use outbox_transport::operate::SQS;
use outbox_transport::process::FailsOften;

use super::answer::{Problem, RpcStatus, SourceStatus};
use crate::options::Options;
use crate::running::Failing;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, counted, moment_of, seconds_since};

/// A few failures in a row are usual while a server restarts.
const FAILED_MIN: u64 = 5;
/// Another worker may have delivered it since.
const OFTEN_SECONDS_MAX: f64 = 15.0 * 60.0;
const ERROR_CHARS_MAX: usize = 200;

/// Calls that all fail, while there is still something to deliver.
pub(super) fn of_rpc(rpc: &RpcStatus, options: &Options) -> Option<Problem> {
    let Failing { in_row, error, since_success } = &rpc.serving.failing;
    let depth = &rpc.depth;
    if *in_row < FAILED_MIN || !since_success || is_empty(rpc) {
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
            "see the log of its server; the workers try again, and a call that does not reach it loses no attempt; \
             what they give up: {command}"
        ),
    ))
}

/// One event that fails, while others are delivered.
pub(super) fn of_event(rpc: &RpcStatus, options: &Options) -> Option<Problem> {
    let FailsOften { event, attempt, error } = rpc.serving.fails_often.as_ref()?;
    if is_empty(rpc) || seconds_since(error.at) > OFTEN_SECONDS_MAX {
        return None;
    }
    let (name, event) = (&rpc.depth.rpc, line(event, NAME_CHARS_MAX));
    let problem = format!(
        "event {event} of {name} failed at attempt {attempt} with {}: {}",
        line(&error.code, NAME_CHARS_MAX),
        line(&error.text, ERROR_CHARS_MAX)
    );
    let command = match rpc.source == SQS {
        true => options.command(["why", &event]),
        false => options.command(["queue", "list", "--rpc", name, "--state", "retrying"]),
    };
    Some(Problem::command(problem, command))
}

fn is_empty(rpc: &RpcStatus) -> bool {
    let depth = &rpc.depth;
    [depth.waiting, depth.hidden, depth.retrying.unwrap_or_default()].iter().all(|count| count.is_zero())
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
