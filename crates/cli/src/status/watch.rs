//! `outbox status --watch`: one look after another, in place on a terminal, one below the other elsewhere.

use std::time::Duration;

use chrono::Utc;
use textwrap::core::display_width;

use crate::colour::Colour;
use crate::options::Format;
use crate::show::instant;
use crate::stopped::Stopped;
use crate::terminal::{printed, size, written};

/// More often, the looks themselves would be load.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Where looks are shown.
#[derive(Debug)]
pub(super) struct Screen {
    every: Duration,
    format: Format,
    /// Of the last look.
    code: Option<u8>,
    is_open: bool,
}

impl Screen {
    pub(super) fn new(every: Duration, format: Format) -> Self {
        Self { every, format, code: None, is_open: true }
    }

    /// `false` if the reader is gone.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) async fn wait(&self) {
        tokio::time::sleep(self.every).await;
    }

    /// On a terminal problems must be seen, though not all of the tables may fit.
    pub(super) fn is_in_place(&self) -> bool {
        self.format == Format::Table && size().is_some()
    }

    pub(super) fn show(&mut self, look: &str, code: u8) -> Result<(), Stopped> {
        let first = self.code.is_none();
        self.code = Some(code);
        let now = instant(Utc::now());
        let text = match (self.format, size()) {
            (Format::Json, _) => format!("{look}\n"),
            (Format::Table, None) => {
                let before = if first { "" } else { "\n" };
                format!("{before}{now}\n{}\n", printed(look))
            }
            (Format::Table, Some(size)) => {
                let every = humantime::format_duration(self.every);
                let heading =
                    Colour::paint(Some(Colour::Dim), &format!("{now}, every {every}, until Ctrl-C"));
                in_place(&printed(&format!("{heading}\n\n{look}")), size, first)
            }
        };
        self.is_open = written(&text)?;
        Ok(())
    }

    /// The last look's exit code.
    pub(super) fn ended(&self) -> Result<u8, Stopped> {
        let none = || Stopped::failed("ended before the first look", "wait for one, or leave --watch out");
        self.code.ok_or_else(none)
    }
}

/// Pure: overwrites what stands there, line by line, so that nothing flickers. What does not fit is counted.
fn in_place(text: &str, (width, height): (usize, usize), first: bool) -> String {
    // Keeps what was on the screen above it.
    let begin = if first { "\n".repeat(height) } else { String::new() };
    // A terminal that knows it shows all at once.
    let mut frame = format!("{begin}\u{1b}[?2026h\u{1b}[H");
    let rows = |line: &str| display_width(line).div_ceil(width.max(1)).max(1);
    let lines: Vec<&str> = text.lines().collect();
    // The last row stays free: the cursor is there.
    let mut free = height.saturating_sub(1);
    let all_fit = lines.iter().map(|line| rows(line)).sum::<usize>() <= free;
    if !all_fit {
        free = free.saturating_sub(1);
    }
    let mut shown = 0;
    for line in &lines {
        let Some(left) = free.checked_sub(rows(line)) else { break };
        free = left;
        shown += 1;
        frame.push_str(&format!("{line}\u{1b}[K\n"));
    }
    if shown < lines.len() {
        frame.push_str(&format!("… {} more lines\u{1b}[K\n", lines.len() - shown));
    }
    frame + "\u{1b}[J\u{1b}[?2026l"
}

/// `2s`, `1m`
pub(super) fn every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| format!("{error}: write 2s, or 1m"))?;
    (every >= EVERY_MIN).then_some(every).ok_or_else(|| "at least 1s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a look fills at most the terminal, is drawn over the one before, and says what does not fit.
    #[test]
    fn a_look_is_drawn_in_place() {
        let drawn = |text: &str, size| anstream::adapter::strip_str(&in_place(text, size, false)).to_string();
        assert_eq!(drawn("a\nb", (80, 24)), "a\nb\n");
        assert_eq!(drawn("a\nb\nc", (80, 4)), "a\nb\nc\n");
        assert_eq!(drawn("a\nb\nc\nd", (80, 4)), "a\nb\n… 2 more lines\n");
        assert_eq!(drawn("aaaaa\nb\nc\nd", (4, 4)), "aaaaa\n… 3 more lines\n");
        assert_eq!(drawn("a", (0, 0)), "… 1 more lines\n");
        let frame = in_place("a", (80, 24), false);
        assert!(frame.contains("\u{1b}[H") && !frame.contains("\u{1b}[2J") && !frame.starts_with('\n'));
        assert!(in_place("a", (80, 24), true).starts_with(&"\n".repeat(24)));
    }

    /// Guards: an interval is a time of at least a second.
    #[test]
    fn looks_have_an_interval() {
        assert_eq!(every("2s"), Ok(Duration::from_secs(2)));
        assert!(every("0s").is_err() && every("500ms").is_err() && every("often").is_err());
    }
}
