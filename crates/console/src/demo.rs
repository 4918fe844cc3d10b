//! Examples in place of an installation: for a look at the pages, for documents, and for tests.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::ask::{Answer, Answering, Ask, Question, Refusal};
use crate::shown::stamp;

/// When the examples were so. Times are shown as they were then.
const AT: i64 = 1_795_353_142;

const REPAIRS: &str = include_str!("demo/repairs.json");

/// An hour in which a deploy made many letters, one server is slow, and one RPC has no worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demo;

impl Demo {
    /// The time of the examples.
    pub fn clock() -> DateTime<Utc> {
        DateTime::from_timestamp(AT, 0).unwrap_or_default()
    }

    fn answer(words: &[&str]) -> Option<Value> {
        let text = match words {
            ["status", ..] => include_str!("demo/status.json"),
            ["role", ..] => return Some(json!({"repairs": true, "sees_payloads": true})),
            ["routes", ..] => include_str!("demo/routes.json"),
            ["why", ..] => include_str!("demo/why.json"),
            ["find", ..] => include_str!("demo/find.json"),
            ["dlq", "summary", ..] => include_str!("demo/summary.json"),
            ["dlq", "list", rpc, ..] if rpc.ends_with("/RecordCardTransaction") => {
                include_str!("demo/letters.json")
            }
            ["dlq", "list", ..] => "[]",
            ["dlq", "show", ..] => include_str!("demo/letter.json"),
            ["dlq", "drop" | "redrive", .., "--dry-run"] => {
                let dead_by = words.iter().find_map(|word| word.strip_prefix("--dead-by="));
                let dead_by = dead_by.map_or_else(|| stamp(Self::clock()), str::to_owned);
                return Some(
                    json!({"dry_run": true, "dead_by": dead_by, "found": 4960, "moved": 0, "done_before": 0}),
                );
            }
            ["queue", "drop", .., "--dry-run"] => {
                return Some(json!({"dry_run": true, "found": 10_000, "dropped": 0}));
            }
            ["queue", "give-up", .., "--dry-run"] => {
                return Some(json!({"dry_run": true, "found": 12, "changed": 0, "more": false}));
            }
            ["parked", "drop", _, "--dry-run"] => {
                return Some(json!({"dry_run": true, "found": 1, "changed": 0, "not_parked": []}));
            }
            ["parked", "list", ..] => include_str!("demo/parked.json"),
            ["repair", "list", ..] => REPAIRS,
            ["repair", "show", id] => return of_repair(id),
            ["audit", ..] => include_str!("demo/audit.json"),
            ["doctor", ..] => include_str!("demo/doctor.json"),
            ["queue", "list", rpc, ..] if rpc.ends_with("RemindReceipt") => include_str!("demo/queue.json"),
            ["queue", "list", ..] => "[]",
            ["replay", ..] => include_str!("demo/replay.json"),
            _ => return None,
        };
        serde_json::from_str(text).ok()
    }
}

impl Ask for Demo {
    fn ask(&self, question: Question) -> Answering {
        let words: Vec<&str> = question.words.iter().map(String::as_str).collect();
        let answer = match (question.changes, Self::answer(&words)) {
            (false, Some(json)) => Ok(Answer { json }),
            (true, _) => Err(refusal("the demo changes nothing", "leave out --demo for an installation")),
            (false, None) => {
                Err(refusal("the demo has no example of this", "leave out --demo for an installation"))
            }
        };
        Box::pin(async move { answer })
    }

    fn command(&self, words: &[String]) -> String {
        format!("outbox {}", words.join(" "))
    }
}

fn of_repair(id: &str) -> Option<Value> {
    let all: Vec<Value> = serde_json::from_str(REPAIRS).ok()?;
    Some(all.into_iter().filter(|repair| repair["id"] == id).collect())
}

fn refusal(problem: &str, remedy: &str) -> Refusal {
    Refusal { code: 1, problem: problem.to_owned(), remedy: remedy.to_owned() }
}
