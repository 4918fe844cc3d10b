use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::{Finding, Place, Severity};

/// Every mistake, in the order of files and lines, with the texts of the files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    /// Texts by the file's name in [`Place`].
    texts: BTreeMap<String, String>,
}

impl Report {
    /// Adds the text of a file, so that its lines can be shown.
    pub fn add_text(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.texts.insert(file.into(), text.into());
    }

    /// Adds findings; a duplicate is shown once.
    pub fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
        let key = |finding: &Finding| {
            (finding.place.clone(), finding.severity, finding.message.clone(), finding.hint.clone())
        };
        self.findings.sort_by_cached_key(key);
        self.findings.dedup();
    }

    pub fn merge(&mut self, other: Report) {
        self.texts.extend(other.texts);
        self.add(other.findings);
    }

    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// For a terminal: as [`Display`](fmt::Display), in colour.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        self.findings.iter().map(|finding| self.show(finding, renderer)).collect::<Vec<_>>().join("\n\n")
    }

    fn show(&self, finding: &Finding, renderer: &Renderer) -> String {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let Place { file, line, column, width } = &finding.place;
        let title = level.primary_title(&finding.message);
        let hint = Level::HELP.message(&finding.hint);
        // Render the line alone: a large file would be laid out anew for each finding.
        let text = self.texts.get(file).and_then(|text| text.lines().nth(line - 1));
        let group = match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                let annotation = AnnotationKind::Primary.span(span(text, *column, *width));
                title
                    .element(Snippet::source(text).path(file).line_start(*line).annotation(annotation))
                    .element(hint)
            }
            None => title.element(Origin::path(file).line(*line).char_column(*column)).element(hint),
        };
        renderer.render(&[group])
    }
}

/// Without colour: for logs, files and errors.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

/// A build script returns a report from `main`, and Rust prints that with `{:?}`.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report {}

/// The bytes that a place covers. A place past the line's end covers its end.
fn span(line: &str, column: usize, width: usize) -> Range<usize> {
    let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
    let start = byte(column - 1);
    let end = match width {
        0 => line[start..].find(char::is_whitespace).map_or(line.len(), |length| start + length),
        width => byte(column - 1 + width),
    };
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, column: usize, width: usize) -> Place {
        Place { file: "a.yaml".into(), line, column, width }
    }

    /// Guards: the terminal shows the place itself, so that users needn't count lines.
    #[test]
    fn a_finding_underlines_its_place() {
        let mut report = Report::default();
        report.add_text("a.yaml", "event:\n  - näme: event_a # what\n");
        report.add([Finding::error(place(2, 5, 0), "unknown key `näme`", "did you mean `name`?")]);
        let expected = "\
error: unknown key `näme`
 --> a.yaml:2:5
  |
2 |   - näme: event_a # what
  |     ^^^^^
  |
  = help: did you mean `name`?";
        assert_eq!(report.to_string(), expected);
        assert_eq!(format!("{report:?}"), expected);
    }

    /// Guards: a place outside the text is shown without a panic, as after a change of the file.
    #[test]
    fn every_place_can_be_shown() {
        for text in ["", "\n", "é", "é\r\nb\r\n", "\u{200b}\t\tx"] {
            for (line, column, width) in [(1, 1, 0), (1, 1, 5), (1, 9, 2), (2, 1, 0), (3, 4, 0), (99, 99, 99)]
            {
                let mut report = Report::default();
                report.add_text("a.yaml", text);
                report.add([Finding::warning(place(line, column, width), "m", "h")]);
                let shown = report.to_string();
                assert!(shown.contains("warning: m") && shown.contains("a.yaml"), "{shown}");
            }
        }
    }

    /// Guards: findings come in the order of the file, each once, and errors differ from warnings.
    #[test]
    fn findings_are_in_order_and_counted() {
        let mut report = Report::default();
        let twice = Finding::error(place(3, 1, 0), "c", "h");
        report.add([twice.clone(), Finding::warning(place(1, 1, 0), "a", "h"), twice]);
        let messages: Vec<_> = report.findings().iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, ["a", "c"]);
        assert_eq!((report.count(Severity::Error), report.count(Severity::Warning)), (1, 1));
    }
}
