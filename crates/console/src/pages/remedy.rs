//! From a problem to the page on which it is repaired.

use crate::answers::{Problem, Status};
use crate::frame::rpc_path;
use crate::shown::{encoded, query};

/// Pure: its address, and what its link says.
pub(crate) fn place(problem: &Problem, status: &Status) -> (String, &'static str) {
    let rpcs = status.rpcs.iter().map(|rpc| rpc.rpc.as_str());
    way_on(&problem.problem, problem.command.as_deref(), rpcs)
}

/// Pure: the page of a problem of `outbox status`, without what addresses begin with. `rpcs` are those of the same answer.
pub fn problem_path<'a>(problem: &str, command: Option<&str>, rpcs: impl Iterator<Item = &'a str>) -> String {
    way_on(problem, command, rpcs).0
}

/// The command says it, and otherwise the RPC that the problem names.
fn way_on<'a>(
    problem: &str,
    command: Option<&str>,
    rpcs: impl Iterator<Item = &'a str>,
) -> (String, &'static str) {
    let words: Vec<&str> = command.unwrap_or_default().split(' ').collect();
    let flag = |name: &str| {
        words.iter().zip(words.iter().skip(1)).find(|(flag, _)| **flag == name).map_or("", |(_, value)| value)
    };
    let rpc = flag("--rpc");
    match &words[..] {
        [_, "dlq", "redrive", ..] => {
            let pairs = [("rpc", rpc), ("event", flag("--event")), ("code", flag("--code"))];
            (format!("/dead/redrive{}", query(&pairs)), "Redrive…")
        }
        [_, "dlq", ..] => (format!("/dead{}", query(&[("rpc", rpc)])), "See the reasons"),
        [_, "why", id, ..] => (format!("/event/{}", encoded(id)), "See the event"),
        [_, "parked", ..] => ("/parked".to_owned(), "See the parked events"),
        [_, "doctor", ..] => ("/line".to_owned(), "See what doctor finds"),
        [_, "replay", ..] => {
            let pairs = [("event", flag("--event")), ("since", flag("--since")), ("rpc", rpc)];
            (format!("/replay{}", query(&pairs)), "Plan the replay")
        }
        [_, "repair", _, id, ..] => (format!("/repairs/{}", encoded(id)), "See the repair"),
        _ if !rpc.is_empty() => (rpc_path(rpc), "See this RPC"),
        _ => {
            let named = rpcs.filter(|rpc| problem.contains(*rpc));
            match named.max_by_key(|rpc| rpc.len()) {
                Some(rpc) => (rpc_path(rpc), "See this RPC"),
                None => ("/line".to_owned(), "See the line"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Rpc;

    /// Guards promise 8: each problem leads to the page with its repair.
    #[test]
    fn a_problem_has_one_way_on() {
        let rpc = |name: &str| Rpc { rpc: name.to_owned(), ..Rpc::default() };
        let status = Status { rpcs: vec![rpc("A/B"), rpc("A/BC")], ..Status::default() };
        for (text, command, path) in [
            ("3 dead letters of A/B", "outbox dlq list --rpc A/B", "/dead?rpc=A%2FB"),
            ("cards is behind", "outbox why 01a2", "/event/01a2"),
            ("1 parked event in cards", "outbox parked list --source cards=x", "/parked"),
            ("", "outbox dlq redrive --event 01a2 --rpc A/B", "/dead/redrive?rpc=A%2FB&event=01a2"),
            ("", "outbox replay --event 01a2 --rpc A/B --run", "/replay?event=01a2&rpc=A%2FB"),
            ("A/B is paused", "outbox resume --rpc A/B", "/rpc/A/B"),
            ("EventBridge could not deliver 2 events", "outbox replay --since 24h", "/replay?since=24h"),
            ("the server of A/BC is away", "", "/rpc/A/BC"),
            ("no relay leads cards", "", "/line"),
        ] {
            let command = Some(command.to_owned()).filter(|command| !command.is_empty());
            let problem = Problem { problem: text.to_owned(), command, remedy: None };
            assert_eq!(place(&problem, &status).0, path, "{text}");
        }
    }
}
