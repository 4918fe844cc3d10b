//! Processes that make no progress. A full disk halts many parts of many processes, and is shown once. Pure.

use outbox_runtime::RELOAD;
use outbox_transport::process::{Program, Seen, Waits};

/// A part that waits for longer is no longer busy.
const HALTED_SECONDS: f64 = 8.0;

/// Processes of one database that wait for the same reason.
#[derive(Debug, PartialEq)]
pub(crate) struct Halted {
    pub(crate) source: String,
    pub(crate) program: Program,
    pub(crate) names: Vec<String>,
    pub(crate) parts: Vec<String>,
    pub(crate) reason: String,
    /// The longest; `None` if waiting does not help.
    pub(crate) seconds: Option<f64>,
    pub(crate) addresses: Vec<String>,
}

/// By reason, in the order of the processes. Silent ones are another problem.
pub(crate) fn halted(all: &[Seen]) -> Vec<Halted> {
    let mut groups: Vec<Halted> = Vec::new();
    for seen in all.iter().filter(|seen| !seen.is_silent()) {
        for (waits, seconds) in waits(seen) {
            let at = groups.iter().position(|group| is_of(group, seen, waits)).unwrap_or_else(|| {
                groups.push(first(seen, waits, seconds));
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.seconds = group.seconds.zip(seconds).map(|(one, other)| one.max(other));
            push_new(&mut group.names, &seen.process.name);
            push_new(&mut group.parts, &waits.part);
            if let Some(address) = &seen.process.address {
                push_new(&mut group.addresses, address);
            }
        }
    }
    groups
}

fn is_of(group: &Halted, seen: &Seen, waits: &Waits) -> bool {
    group.source == seen.source && group.program == seen.process.program && group.reason == waits.reason
}

fn first(seen: &Seen, waits: &Waits, seconds: Option<f64>) -> Halted {
    Halted {
        source: seen.source.clone(),
        program: seen.process.program,
        names: Vec::new(),
        parts: Vec::new(),
        reason: waits.reason.clone(),
        seconds,
        addresses: Vec::new(),
    }
}

fn push_new(all: &mut Vec<String>, one: &str) {
    if !all.iter().any(|known| known == one) {
        all.push(one.to_owned());
    }
}

/// The parts that have waited for too long, with the time until now.
fn waits(seen: &Seen) -> impl Iterator<Item = (&Waits, Option<f64>)> {
    let ago = seen.seen_seconds_ago.max(0.0);
    let until_now = move |waits: &Waits| waits.seconds.map(|seconds| seconds + ago);
    let waits = seen.process.report.waits.iter().map(move |waits| (waits, until_now(waits)));
    waits.filter(|(_, seconds)| seconds.is_none_or(|seconds| seconds >= HALTED_SECONDS))
}

/// As [`waits`], without a file that was refused: the process goes on by the one before.
pub(crate) fn stands(seen: &Seen) -> impl Iterator<Item = (&Waits, Option<f64>)> {
    waits(seen).filter(|(waits, _)| waits.part != RELOAD)
}
