//! Processes with different routes: which differ from most others, and in what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use outbox_transport::process::Seen;
use serde::Serialize;

const DIGEST_CHARS: usize = 8;

/// Processes whose routes differ from those of most others. The names are stable.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Differing {
    pub(crate) source: String,
    pub(crate) processes: Vec<String>,
    /// The beginnings of both hashes.
    pub(crate) digest: String,
    pub(crate) usual: String,
    /// How many have the usual one.
    pub(crate) others: usize,
    /// `lacks A/B (event_one)`, `has A/B (event_one)`, `has another policy for A/B (event_one)`
    pub(crate) differences: Vec<String>,
}

/// Of each source. Silent processes count as ended. Of two equally large groups, the one with the process that started last is
/// the usual one: a deployment has just begun, or just ended.
pub(crate) fn differing(all: &[Seen]) -> Vec<Differing> {
    let sources: BTreeSet<&str> = all.iter().map(|seen| seen.source.as_str()).collect();
    sources.into_iter().flat_map(|source| of_source(all, source)).collect()
}

fn of_source(all: &[Seen], source: &str) -> Vec<Differing> {
    let mut groups: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in all.iter().filter(|seen| seen.source == source && !seen.is_silent()) {
        if let Some(router) = &seen.process.router {
            groups.entry(router).or_default().push(seen);
        }
    }
    let newest = |group: &[&Seen]| group.iter().filter_map(|seen| seen.process.started_at.known()).max();
    let usual = groups.iter().max_by_key(|(_, group)| (group.len(), newest(group.as_slice())));
    let Some((usual, usual_group)) = usual else { return Vec::new() };
    let others = groups.iter().filter(|(digest, _)| digest != &usual);
    let differing = others.map(|(digest, group)| Differing {
        source: source.to_owned(),
        processes: group.iter().map(|seen| named(seen)).collect(),
        digest: digest.chars().take(DIGEST_CHARS).collect(),
        usual: usual.chars().take(DIGEST_CHARS).collect(),
        others: usual_group.len(),
        differences: differences(&group[0].process.routes, &usual_group[0].process.routes),
    });
    differing.collect()
}

fn named(seen: &Seen) -> String {
    format!("{} {}", seen.process.program.as_str(), seen.process.name)
}

/// Each route is its event, its RPC and a hash of its policy.
fn differences(theirs: &[String], usual: &[String]) -> Vec<String> {
    let (theirs, usual) = (by_route(theirs), by_route(usual));
    let lacks = usual.keys().filter(|route| !theirs.contains_key(*route));
    let has = theirs.keys().filter(|route| !usual.contains_key(*route));
    let other =
        theirs.iter().filter(|(route, policy)| usual.get(*route).is_some_and(|usual| usual != *policy));
    let told = |does: &'static str| move |(event, rpc): &(&str, &str)| format!("{does} {rpc} ({event})");
    lacks
        .map(told("lacks"))
        .chain(has.map(told("has")))
        .chain(other.map(|(route, _)| route).map(told("has another policy for")))
        .collect()
}

fn by_route(routes: &[String]) -> BTreeMap<(&str, &str), &str> {
    routes.iter().filter_map(|text| route(text)).collect()
}

fn route(text: &str) -> Option<((&str, &str), &str)> {
    let (event, rest) = text.split_once(' ')?;
    let (rpc, policy) = rest.split_once(' ')?;
    Some(((event, rpc), policy))
}

#[cfg(test)]
mod tests {
    use outbox_event_router::Router;
    use outbox_transport::process::{Process, Program};

    use super::*;

    fn seen(program: Program, name: &str, subscribers: &str, ago: f64) -> Seen {
        let yaml = format!("event:\n  - name: event_one\n    subscriber: [{subscribers}]\n");
        let router = Router::parse("test.yaml", &yaml).unwrap_or_else(|findings| panic!("{findings}"));
        let process = Process::new(program, name, "0.1.0", None).routed_by(&router);
        Seen { source: "cards".into(), process, seen_seconds_ago: ago, silent_after_seconds: 10.0 }
    }

    /// Guards promise 8: a process with other routes than most is shown, with each difference.
    #[test]
    fn differences_are_told() {
        let usual = "{ id: A/B }, { id: A/C, timeout: 5s }";
        let mut all = vec![
            seen(Program::Worker, "w1", usual, 1.0),
            seen(Program::Worker, "w2", usual, 1.0),
            seen(Program::Relay, "r1", usual, 1.0),
        ];
        assert!(differing(&all).is_empty());
        all.push(seen(Program::Relay, "r2", "{ id: A/C, timeout: 6s }, { id: A/D }", 1.0));
        let told = differing(&all);
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0].processes, told[0].others), (&vec!["relay r2".to_owned()], 3));
        assert_eq!(
            told[0].differences,
            ["lacks A/B (event_one)", "has A/D (event_one)", "has another policy for A/C (event_one)"]
        );
        all[3].seen_seconds_ago = 11.0;
        assert!(differing(&all).is_empty(), "a silent process counts as ended");
        all[3] = Seen { source: "ledger".into(), ..seen(Program::Relay, "r2", "{ id: A/D }", 1.0) };
        assert!(differing(&all).is_empty(), "each database has its own processes");
        all[3] = seen(Program::Relay, "r3", usual, 1.0);
        all[3].process.router = None;
        assert!(differing(&all).is_empty(), "a relay on aws has no routes");
    }
}
