//! The text of a services.yaml for messages: without what may be a secret. Headers are literal there, and a token or a password
//! may stand where a file should.

use std::collections::BTreeMap;

use crate::yaml::{At, Node, Placed};

const HIDDEN: &str = "…";
/// What stands after these keys is shown. A file's name is not: the secret itself may stand there.
const SHOWN: [&str; 2] = ["address", "encoding"];

/// Each line ends where the first value begins that may be secret.
pub(super) fn masked(text: &str, document: &Placed) -> String {
    let mut ends = BTreeMap::new();
    hide(document, false, &mut ends);
    let mut lines: Vec<String> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        lines.push(match ends.get(&(n + 1)) {
            Some(column) => line.chars().take(column - 1).chain(HIDDEN.chars()).collect(),
            None => without_comment(line),
        });
    }
    lines.join("\n")
}

/// A comment may hold an older secret, also one that is the whole line.
fn without_comment(line: &str) -> String {
    if is_comment(line) {
        return format!("#{HIDDEN}");
    }
    let comment = line.find(" #").into_iter().chain(line.find("\t#")).min();
    line[..comment.unwrap_or(line.len())].to_owned()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Of a text that is no YAML: each line up to its first colon.
pub(super) fn masked_unread(text: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        _ if is_comment(line) => format!("#{HIDDEN}"),
        Some((key, rest)) if rest.trim().is_empty() => format!("{key}:"),
        Some((key, _)) => format!("{key}: {HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn hide(placed: &Placed, is_shown: bool, ends: &mut BTreeMap<usize, usize>) {
    match &*placed.node {
        Node::Map(entries) => {
            for (key, value) in entries {
                if shown(&key.name) == HIDDEN {
                    cut(key.at, ends);
                }
                hide(value, SHOWN.contains(&key.name.as_str()), ends);
            }
        }
        Node::List(items) => items.iter().for_each(|item| hide(item, is_shown, ends)),
        Node::Text(text) if is_shown && !text.contains(['@', '?']) => {}
        Node::Null => {}
        Node::Text(_) | Node::Bool | Node::Int(_) | Node::Float => cut(placed.at, ends),
    }
}

fn cut(At { line, column }: At, ends: &mut BTreeMap<usize, usize>) {
    let end = ends.entry(line).or_insert(column);
    *end = column.min(*end);
}

/// A key, unless a whole header may stand in its place.
pub(super) fn shown(key: &str) -> &str {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
    if key.chars().all(is_plain) { key } else { HIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: no comment is shown, wherever it begins, whether the text is YAML or not.
    #[test]
    fn comments_are_hidden() {
        for (line, expected, unread) in [
            ("# Bearer s3cret: old", "#…", "#…"),
            ("  # s3cret", "#…", "#…"),
            ("\t#s3cret", "#…", "#…"),
            ("service: # s3cret", "service:", "service: …"),
            ("service:\t# s3cret # s3cret", "service:", "service: …"),
            ("service:", "service:", "service:"),
        ] {
            assert_eq!((without_comment(line).as_str(), masked_unread(line).as_str()), (expected, unread));
        }
    }
}
