//! What a document shows: commands of `outbox`, and statements.

use std::collections::BTreeMap;

use regex::Regex;
use testkit::process::root;

#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Without comments, in their order. A command that is only named is asked for its `--help`.
    pub(super) commands: Vec<String>,
    /// Each with whether the owner of the schema runs it.
    pub(super) statements: Vec<(String, bool)>,
}

/// Every runbook, every procedure, and `operations.md`, by path.
pub(super) fn documents() -> BTreeMap<String, Shown> {
    let mut files = vec!["ops/operations.md".to_owned()];
    for folder in ["ops/runbooks", "ops/procedures"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            files.push(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    let read = |file: String| {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        (file, shown(&text))
    };
    files.into_iter().map(read).collect()
}

fn shown(text: &str) -> Shown {
    let mut shown = Shown::default();
    let fence = Regex::new("(?s)```(sh|sql)\n(.*?)```").unwrap();
    for block in fence.captures_iter(text) {
        match &block[1] {
            "sh" => shown.commands.extend(block[2].lines().filter_map(command)),
            _ => shown.statements.extend(statements(&block[2])),
        }
    }
    let prose = fence.replace_all(text, "");
    // Without a flag, a value or a placeholder. A word may have a hyphen within it.
    let named = Regex::new("^outbox(?: [a-z]+(?:-[a-z]+)*)+$").unwrap();
    for span in Regex::new("`((?:outbox|select) [^`]+)`").unwrap().captures_iter(&prose) {
        let words = span[1].split_whitespace().collect::<Vec<_>>().join(" ");
        if words.starts_with("select") {
            // Only the owner grants a part.
            let by_owner = words.contains("outbox.grant_to");
            shown.statements.push((words, by_owner));
        } else if words != "outbox relay" && words != "outbox worker" {
            // Those two are names of sessions.
            let is_named = named.is_match(&words);
            shown.commands.push(if is_named { format!("{words} --help") } else { words });
        }
    }
    shown
}

/// The command of a line, if it is one of `outbox`.
fn command(line: &str) -> Option<String> {
    let line = line.split(" #").next().unwrap().trim();
    line.starts_with("outbox ").then(|| line.to_owned())
}

/// A block whose first line is `-- as the owner` is the owner's.
fn statements(block: &str) -> Vec<(String, bool)> {
    let by_owner = block.trim_start().starts_with("-- as the owner");
    let lines = block.lines().filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    let each = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    each.map(|statement| (statement.to_owned(), by_owner)).collect()
}

/// Guards the two tests beside: nothing that a document shows is left out.
#[test]
fn what_a_document_shows_is_found() {
    let text = "See `outbox dlq list`, `outbox queue give-up`, `outbox queue retry --all` and `outbox why\n  EVENT_ID`.\n\n   ```sh\n   outbox status   # all\n   curl x\n   ```\n\n\
                ```sql\n-- as the owner\ncreate role ROLE;\ndrop role\n  ROLE;\n```\n`select 1`, `select outbox.grant_to('ROLE', 'x')`\n";
    let Shown { commands, statements } = shown(text);
    let expected = [
        "outbox status",
        "outbox dlq list --help",
        "outbox queue give-up --help",
        "outbox queue retry --all",
        "outbox why EVENT_ID",
    ];
    assert_eq!(commands, expected);
    let expected = [
        ("create role ROLE", true),
        ("drop role ROLE", true),
        ("select 1", false),
        ("select outbox.grant_to('ROLE', 'x')", true),
    ];
    assert_eq!(statements, expected.map(|(statement, by_owner)| (statement.to_owned(), by_owner)));
}
