use std::fmt;

use serde::Serialize;

use crate::colour::Colour;
use crate::safe::line;
use crate::stopped::Stopped;

const MESSAGE_CHARS_MAX: usize = 2000;
/// A statement to paste is useless without its end.
const HINT_CHARS_MAX: usize = 100_000;

/// One finding. Text from others is made safe where it could be taken for ours. In a statement to paste it is a literal or an
/// identifier, on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    pub(super) severity: Severity,
    /// The subject: a database, a queue, a service.
    pub(super) place: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    Ok,
    /// The check was not possible, or not requested.
    Skipped,
    Warning,
    Error,
}

impl Diagnosis {
    pub(super) fn ok(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, place: place.into(), message: message.into(), hint: None }
    }

    /// Not a mistake, but worth knowing.
    pub(super) fn info(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Ok, place, message, hint)
    }

    pub(super) fn with(
        severity: Severity,
        place: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { severity, place: place.to_owned(), message: message.into(), hint: Some(hint.into()) }
    }

    pub(super) fn skipped(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Skipped, place, message, hint)
    }

    pub(super) fn warning(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Warning, place, message, hint)
    }

    pub(super) fn error(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Error, place, message, hint)
    }

    /// A subject that could not be checked at all.
    pub(super) fn stopped(place: &str, stopped: &Stopped) -> Self {
        Self::error(place, &stopped.problem, &stopped.remedy)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, colour) = match self.severity {
            Severity::Ok => ("ok", Colour::Good),
            Severity::Skipped => ("skipped", Colour::Dim),
            Severity::Warning => ("warning", Colour::Warning),
            Severity::Error => ("error", Colour::Problem),
        };
        let severity = Colour::paint(Some(colour), &format!("{severity:<8}"));
        let (place, message) = (line(&self.place, MESSAGE_CHARS_MAX), line(&self.message, MESSAGE_CHARS_MAX));
        write!(f, "{severity} {place}: {message}")?;
        for one in self.hint.iter().flat_map(|hint| hint.split('\n')) {
            write!(f, "\n         {}", line(one, HINT_CHARS_MAX))?;
        }
        Ok(())
    }
}
