//! Spellings that readers of YAML interpret differently. Terraform checks the text with the same file of rules.

use outbox_finding::{Finding, Place};
use regex::Regex;
use serde::Deserialize;

const RULES: &str = include_str!("../spelling.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelling {
    bytes_max: usize,
    aliases_max: usize,
    rules: Vec<Rule>,
    whole: Vec<String>,
    keys: String,
    units: String,
    says: String,
    hint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(rename = "in")]
    part: Part,
    pattern: String,
    says: String,
    hint: String,
    /// Applies only to a file that has aliases.
    #[serde(default)]
    aliases: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Part {
    Text,
    Bare,
}

/// Mistakes in the spelling of a text, independent of its meaning. Each check takes linear time.
pub(crate) fn examine(file: &str, text: &str) -> Vec<Finding> {
    let spelling: Spelling = serde_yaml::from_str(RULES).expect("our own file is as it is declared");
    if text.len() > spelling.bytes_max {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), spelling.bytes_max);
        let hint = "divide it into several buses, each with a file of its own";
        return vec![Finding::error(place(file, "", 0), message, hint)];
    }
    let text = without_mark(text);
    let bare = bare(text);
    let aliases = bare.matches('*').count();
    let mut findings = Vec::new();
    if aliases > spelling.aliases_max {
        let at = bare.match_indices('*').nth(spelling.aliases_max).map_or(0, |(at, _)| at);
        let message = format!("aliases are used {aliases} times; at most {} are read", spelling.aliases_max);
        findings.push(Finding::error(place(file, &bare, at), message, "write some of them out"));
    }
    for rule in spelling.rules.iter().filter(|rule| aliases > 0 || !rule.aliases) {
        let part = if rule.part == Part::Text { text } else { &bare };
        findings.extend(rule.finding(file, part));
    }
    if findings.is_empty() {
        findings.extend(spelling.unread(file, &bare));
    }
    findings
}

impl Rule {
    fn finding(&self, file: &str, part: &str) -> Option<Finding> {
        let found = regex(&self.pattern).find(part)?;
        // A match ends at the first character that isn't allowed.
        let last = part[..found.end()].char_indices().next_back().map_or(0, |(at, _)| at);
        Some(Finding::error(place(file, part, last), self.says.clone(), self.hint.clone()))
    }
}

impl Spelling {
    /// The first character that matches no known form.
    fn unread(&self, file: &str, bare: &str) -> Option<Finding> {
        let whole = self.whole.concat().replace("KEYS", &self.keys).replace("UNITS", &self.units);
        if regex(&whole).is_match(bare) {
            return None;
        }
        let as_far = whole.strip_suffix(r"\z").unwrap_or(&whole);
        let end = regex(as_far).find(bare).map_or(0, |found| found.end());
        Some(Finding::error(place(file, bare, end), self.says.clone(), self.hint.clone()))
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a test reads every pattern")
}

/// Without the byte order mark that some editors write.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Without comments. The lines keep their numbers.
fn bare(text: &str) -> String {
    text.split_inclusive('\n')
        .flat_map(|line| match line.split_once('#') {
            Some((before, comment)) => [before, if comment.ends_with('\n') { "\n" } else { "" }],
            None => [line, ""],
        })
        .collect()
}

pub(crate) fn place(file: &str, text: &str, at: usize) -> Place {
    let before = &text[..at.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        width: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: every rule has a valid pattern and texts, and no text names a reader's internals.
    #[test]
    fn every_rule_can_be_read() {
        let spelling: Spelling = serde_yaml::from_str(RULES).unwrap();
        assert!(spelling.rules.len() >= 9 && spelling.bytes_max.is_multiple_of(3));
        for rule in &spelling.rules {
            assert!(Regex::new(&rule.pattern).is_ok(), "{}", rule.pattern);
            assert!(!rule.says.is_empty() && !rule.hint.is_empty());
        }
        assert!(examine("event_router.yaml", "event: []\n").is_empty());
    }

    /// Guards: a finding points at the first unknown character, with or without comments.
    #[test]
    fn the_place_is_that_of_the_first_odd_character() {
        let text =
            "# é\nevent: # a list\n  - name: event_a # 7\n    subscriber: [] # \n    max_attempts: 010\n";
        let [finding] = &examine("event_router.yaml", text)[..] else { panic!("one finding") };
        assert_eq!((finding.place.line, finding.place.column), (5, 19));
    }
}
