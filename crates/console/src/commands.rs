//! The commands that forms run. Pages show them beside the forms.

use crate::ask::words::{filtered, of};

/// The state of what is given up together, as the command calls it.
pub(crate) const ALL: &str = "retrying";
/// Stands for what is entered in a form.
pub(crate) const ENTERED: &str = "…";

type Words = Vec<String>;

pub(crate) fn pause(rpc: &str, time: &str, why: &str) -> Words {
    filtered(&["pause"], &[("rpc", rpc), ("for", time), ("why", why)])
}

pub(crate) fn resume(rpc: &str) -> Words {
    filtered(&["resume"], &[("rpc", rpc)])
}

/// What is empty stays as it is.
pub(crate) fn limit(rpc: &str, calls: &str, rate: &str, time: &str, why: &str) -> Words {
    let filters = [("rpc", rpc), ("concurrency", calls), ("rate", rate), ("for", time), ("why", why)];
    filtered(&["limit"], &filters)
}

pub(crate) fn unlimit(rpc: &str) -> Words {
    and(filtered(&["limit"], &[("rpc", rpc)]), &["--clear"])
}

/// All that wait for another attempt.
pub(crate) fn retry(rpc: &str) -> Words {
    and(filtered(&["queue", "retry"], &[("rpc", rpc)]), &["--all"])
}

/// Without an event, what was never tried is left alone.
pub(crate) fn give_up(rpc: &str, event: &str, code: &str, why: &str) -> Words {
    let state = if event.is_empty() { ALL } else { "" };
    let filters = [("rpc", rpc), ("event", event), ("state", state), ("code", code), ("reason", why)];
    filtered(&["queue", "give-up"], &filters)
}

pub(crate) fn retry_parked(id: &str, why: &str) -> Words {
    filtered(&["parked", "retry", id], &[("why", why)])
}

pub(crate) fn payload(letter: &str, why: &str) -> Words {
    filtered(&["dlq", "show", letter, "--payload", "--proto-needed"], &[("why", why)])
}

pub(crate) fn of_repair(what: &str, id: &str) -> Words {
    of(&["repair", what, id])
}

/// Another rate for a repair that runs.
pub(crate) fn pace(id: &str, rate: &str) -> Words {
    filtered(&["repair", "pace", id], &[("rate", rate)])
}

/// Filters, and how fast.
pub(crate) fn redrive(flags: &[(&str, &str)]) -> Words {
    filtered(&["dlq", "redrive"], flags)
}

pub(crate) fn replay(flags: &[(&str, &str)]) -> Words {
    and(filtered(&["replay"], flags), &["--run"])
}

fn and(mut words: Words, more: &[&str]) -> Words {
    words.extend(of(more));
    words
}

/// The form asks for consent, in place of the command.
pub(crate) fn agreed(words: Words) -> Words {
    and(words, &["--yes"])
}
