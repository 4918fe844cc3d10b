//! What the pages say in each drill. The answers were printed by the commands while the drills of `tests/it/seen` ran; their times
//! are moved to the demo's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::{Answer, Answering, Ask, Demo, Question, Refusal};
use serde::Deserialize;
use serde_json::Value;

use super::golden::read_as_before;
use super::support::*;

/// The answers by the words of their commands, and the pages that show them.
#[derive(Debug, Clone, Deserialize)]
struct Drill {
    pages: Vec<String>,
    answers: BTreeMap<String, Value>,
}

impl Ask for Drill {
    fn ask(&self, question: Question) -> Answering {
        let words = question.words.join(" ");
        let fitting = self.answers.iter().find(|(asked, _)| words.starts_with(asked.as_str()));
        let answer = match fitting {
            Some((_, json)) => Ok(Answer { json: json.clone() }),
            // The role of the database, which is an operator's in all drills.
            None if words == "role" => {
                Ok(Answer { json: serde_json::json!({"repairs": true, "sees_payloads": true}) })
            }
            None => Err(Refusal { code: 1, problem: "not part of this drill".to_owned(), remedy: words }),
        };
        Box::pin(async move { answer })
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

/// Guards promise 8: in every drill an operator reads what is wrong, and where it is repaired. After a change of wording
/// `BLESS=1 cargo test -p outbox-console`, and read the difference as somebody whom an alert has called.
#[tokio::test]
async fn every_drill_reads_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drills");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 22, "only {} drills", files.len());
    let mut wrong = String::new();
    for file in files {
        let drill: Drill = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let console = console(Arc::new(drill.clone()));
        for (at, path) in drill.pages.iter().enumerate() {
            let (status, shown) = page(&console, path, operator()).await;
            assert_eq!(status, StatusCode::OK, "{name} {path}: {shown}");
            assert!(!shown.contains("can't be shown"), "{name} {path}: {shown}");
            let golden = if at == 0 { format!("drills/{name}") } else { format!("drills/{name}.{at}") };
            wrong += &read_as_before(&golden, &shown);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
