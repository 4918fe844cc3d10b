//! What differs from run to run: ids, times, ages, sizes, ports and processes.

use crate::world::World;

/// Words for the test's own names.
pub(super) struct Mask {
    names: Vec<(String, String)>,
    /// Counts depend on the worker's progress.
    counts: bool,
}

impl Mask {
    pub(super) fn of(world: &World) -> Self {
        let all = Self { names: Vec::new(), counts: false }.and(world.source.name(), "cards");
        // Each commit has another one.
        match outbox_revision::known() {
            Some(revision) => {
                let version = env!("CARGO_PKG_VERSION");
                all.and(&format!("{version} {revision}"), version)
            }
            None => all,
        }
    }

    pub(super) fn and(mut self, text: &str, word: &str) -> Self {
        self.names.push((text.to_owned(), word.to_owned()));
        self
    }

    /// Hides counts, too.
    pub(super) fn and_counts(self) -> Self {
        Self { counts: true, ..self }
    }

    /// Runs of spaces become two, because columns are as wide as their content.
    pub(super) fn hide(&self, text: &str) -> String {
        let named =
            self.names.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name.as_str(), word));
        named.lines().map(|text| line(text, self.counts)).collect::<Vec<_>>().join("\n")
    }
}

fn line(text: &str, counts: bool) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut spaces = 0;
    for word in text.split(' ') {
        if word.is_empty() {
            spaces += 1;
            continue;
        }
        let is_count = counts && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_oldest = counts && (word == "-" || shape(word) == Some("AGE"));
        let masked = match is_count || is_oldest {
            true => "N".to_owned(),
            false => hidden(word, words.last().map(String::as_str)),
        };
        if let ("kB" | "MB", Some(size)) = (word, words.last_mut()) {
            *size = " SIZE".to_owned();
            continue;
        }
        // An age may have two parts.
        let goes_on = masked.trim_end_matches(|c: char| !c.is_alphabetic()) == "AGE"
            && words.last().is_some_and(|before| before.trim_start_matches('(') == "AGE");
        match words.last_mut().filter(|_| goes_on) {
            Some(last) => *last = last.replace("AGE", &masked),
            None => words.push(if spaces > 0 { format!(" {masked}") } else { masked }),
        }
        spaces = 0;
    }
    words.join(" ")
}

/// The mask of a word whose digits, hexadecimal letters and punctuation look like one of these.
fn hidden(word: &str, before: Option<&str>) -> String {
    let core = word.trim_start_matches('(').trim_end_matches([')', ',', ':', ';', '.']);
    if core.is_empty() {
        return word.to_owned();
    }
    let mask = match before.map(str::trim_start) {
        Some("pid" | "(pid") => Some("PID"),
        Some("on") if is_host(core) => Some("HOST"),
        _ => shape(core),
    };
    mask.map_or_else(|| word.to_owned(), |mask| word.replacen(core, mask, 1))
}

/// An address that only this machine can reach has its name.
fn is_host(word: &str) -> bool {
    std::fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|host| host.trim() == word)
}

fn shape(word: &str) -> Option<&'static str> {
    if word.strip_prefix("127.0.0.1:").is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 1)) {
        return Some("ADDRESS");
    }
    // A process: its host, its pid, and a number that distinguishes it from an earlier process with this pid.
    if word.split(':').count() == 3 && word.rsplit(':').next().is_some_and(|end| end.len() == 6) {
        return Some("NAME");
    }
    let is_id = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if is_id {
        return Some("ID");
    }
    if word.strip_prefix("test-").is_some_and(|rest| rest.len() == 8) {
        return Some("NAME");
    }
    let mut shape: String = word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    while shape.contains("99") {
        shape = shape.replace("99", "9");
    }
    match shape.as_str() {
        "9-9-9T9:9:9Z" => Some("TIME"),
        "9.9s" | "9s" | "9m" | "9h" | "9ms" | "9day" | "9days" | "9month" | "9months" | "9year" => {
            Some("AGE")
        }
        _ => None,
    }
}

/// Guards: no golden depends on when and where it was written, and nothing else is masked.
#[test]
fn differences_between_runs_are_masked() {
    for (said, masked) in [
        ("put       2026-11-22T03:04:05Z (3m 2s ago) by test", "put  TIME (AGE ago) by test"),
        (
            "not put   1 event ahead of it, the oldest for 2.5s",
            "not put  1 event ahead of it, the oldest for AGE",
        ),
        ("outbox why 0198c7e2-0000-7000-8000-000000000001", "outbox why ID"),
        ("  pid 17, role me", " pid PID, role me"),
        (
            "leader  pid 17 from 127.0.0.1:4200, since 2026-11-22T03:04:05Z",
            "leader  pid PID from ADDRESS, since TIME",
        ),
        ("outbox on disk      896 kB", "outbox on disk  SIZE"),
        ("worker does not answer: http://127.0.0.1:1", "worker does not answer: http://127.0.0.1:1"),
        ("by vm:16604:db47e4", "by NAME"),
        ("3 attempts, 12 bytes", "3 attempts, 12 bytes"),
    ] {
        assert_eq!(line(said, false), masked);
    }
    assert_eq!(line("2 dead letters of Test/One", true), "N dead letters of Test/One");
}
