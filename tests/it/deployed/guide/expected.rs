//! What a page shows, compared with what a command said. `…` stands for anything: alone on a line for any lines. Times,
//! durations and the width of columns may differ. An id or a port of the page stands for the real one, throughout the page.

use std::collections::BTreeMap;

use regex::{Captures, Regex};

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const DURATION: &str =
    r"[0-9.]+ ?(?:ns|µs|ms|s|m|min|h|d|days?)(?-u:\b)(?: [0-9.]+ ?(?:ms|s|m|min|h)(?-u:\b))*";
const TIME: &str = r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ])?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z?";

/// What the ids and ports of a page are in truth.
pub(super) struct Names {
    real: BTreeMap<String, String>,
    tokens: Regex,
}

impl Names {
    /// With those that the test has chosen.
    pub(super) fn new(chosen: BTreeMap<String, String>) -> Self {
        let tokens = format!(
            r"(?<any>…)|(?<id>{UUID})|127\.0\.0\.1:(?<port>[0-9]{{4,5}})|(?<time>{TIME})|(?-u:\b)(?<duration>{DURATION})|(?<gap>  +)"
        );
        Self { real: chosen, tokens: Regex::new(&tokens).expect("a pattern") }
    }

    /// A text of the page, as the reader has to type it.
    pub(super) fn typed(&self, text: &str) -> String {
        let name = Regex::new(&format!(r"{UUID}|(?-u:\b)[0-9]{{4,5}}(?-u:\b)")).expect("a pattern");
        let real =
            |found: &Captures<'_>| self.real.get(&found[0]).map_or(&found[0], String::as_str).to_owned();
        name.replace_all(text, real).into_owned()
    }

    /// Whether a command said what the page shows. If so, its new ids and ports are known from now on.
    pub(super) fn learn_all(&mut self, shown: &[String], said: &str) -> bool {
        let said: String = said.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let mut new = Vec::new();
        let length = shown.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        let lines = shown[..length].iter().map(|line| match line.trim() {
            "…" => "(?:[^\n]*\n)*".to_owned(),
            line => format!(" *{}\n", self.pattern(line, &mut new)),
        });
        let pattern = format!(r"\A{}[ \n]*\z", lines.collect::<String>());
        self.learn(&pattern, &new, &(said.trim_end_matches('\n').to_owned() + "\n"))
    }

    /// The same for one line.
    pub(super) fn learn_line(&mut self, shown: &str, said: &str) -> bool {
        let mut new = Vec::new();
        let pattern = format!(r"\A *{}\z", self.pattern(shown.trim(), &mut new));
        self.learn(&pattern, &new, said.trim_end())
    }

    fn learn(&mut self, pattern: &str, new: &[String], said: &str) -> bool {
        let pattern = Regex::new(pattern).expect("a pattern");
        let Some(found) = pattern.captures(said) else { return false };
        let learned = new
            .iter()
            .enumerate()
            .map(|(n, name)| (name.clone(), found[format!("n{n}").as_str()].to_owned()));
        self.real.extend(learned);
        true
    }

    /// `new`: names that are met for the first time, in the order of their groups `n0`, `n1`, …
    fn pattern(&self, line: &str, new: &mut Vec<String>) -> String {
        let mut pattern = String::new();
        let mut at = 0;
        for found in self.tokens.captures_iter(line) {
            let whole = found.get(0).expect("the match");
            pattern += &regex::escape(&self.typed(&line[at..whole.start()]));
            at = whole.end();
            if found.name("any").is_some() {
                pattern += "[^\n]*";
            } else if let Some(id) = found.name("id") {
                pattern += &self.name(id.as_str(), UUID, new);
            } else if let Some(port) = found.name("port") {
                pattern += r"127\.0\.0\.1:";
                pattern += &self.name(port.as_str(), "[0-9]+", new);
            } else if found.name("time").is_some() {
                pattern += TIME;
            } else if found.name("duration").is_some() {
                pattern += DURATION;
            } else {
                pattern += " +";
            }
        }
        pattern + &regex::escape(&self.typed(&line[at..]))
    }

    fn name(&self, name: &str, form: &str, new: &mut Vec<String>) -> String {
        if let Some(real) = self.real.get(name) {
            return regex::escape(real);
        }
        if new.iter().any(|known| known == name) {
            return form.to_owned();
        }
        new.push(name.to_owned());
        format!("(?<n{}>{form})", new.len() - 1)
    }
}

/// Guards the guide: what differs in each run may differ, and nothing else.
#[test]
fn only_what_differs_in_each_run_may_differ() {
    const SHOWN: &str = "00000000-0000-7000-8000-000000000001";
    const REAL: &str = "01a2195f-f3b0-774e-ab62-3caef308d602";
    for (shown, said, fits) in [
        ("a…z", "abcz", true),
        ("a…z", "abc", false),
        ("done  2026-11-25T10:00:00Z (4.1s ago)", "done      2026-11-26T19:40:54Z (1m 12s ago)", true),
        ("10:00:00.000 x ✓ (4.5 ms)", "19:40:54.526 x ✓ (103.6 ms)", true),
        ("1 dead letter", "2 dead letters", false),
        ("listening on 8080", "listening on 40123", true),
        ("listening on 8080", "listening on 8080", false),
        ("at 127.0.0.1:5000", "at 127.0.0.1:29776", true),
        ("a\n…\nd", "a\nb\nc\nd", true),
        ("a\n…\nd", "a\nd", true),
        ("a\nd", "a\nb\nd", false),
        ("a", "a\n\n", true),
        ("3  2.2s  x", "3     0.4s       x", true),
    ] {
        let mut names = Names::new(BTreeMap::from([("8080".to_owned(), "40123".to_owned())]));
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        assert_eq!(names.learn_all(&shown, said), fits, "{shown:?} and {said:?}");
    }
    let mut names = Names::new(BTreeMap::new());
    assert!(names.learn_line(SHOWN, REAL));
    assert_eq!(names.typed(&format!("outbox why {SHOWN}")), format!("outbox why {REAL}"));
    assert!(!names.learn_line(SHOWN, SHOWN), "it is another id now");
}
