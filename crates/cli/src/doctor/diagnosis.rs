use std::fmt;

use serde::Serialize;

use crate::safe::line;
use crate::stopped::Stopped;

const MESSAGE_CHARS_MAX: usize = 2000;
/// A statement to paste is of no use without its end.
const HINT_CHARS_MAX: usize = 100_000;

/// What one look found. Others' texts in it are safe where they could be taken for ours; in a statement to paste they are
/// literals and identifiers, and on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    pub(super) severity: Severity,
    /// What was looked at: a database, a queue, a service.
    pub(super) place: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    Ok,
    /// It could not be looked at, or nobody asked for it.
    Skipped,
    Warning,
    Error,
}

impl Diagnosis {
    pub(super) fn ok(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, place: place.into(), message: message.into(), hint: None }
    }

    /// Nothing is wrong, and it is worth knowing.
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

    /// What could not be looked at at all.
    pub(super) fn stopped(place: &str, stopped: &Stopped) -> Self {
        Self::error(place, &stopped.problem, &stopped.remedy)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Skipped => "skipped",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let (place, message) = (line(&self.place, MESSAGE_CHARS_MAX), line(&self.message, MESSAGE_CHARS_MAX));
        write!(f, "{severity:<8} {place}: {message}")?;
        for one in self.hint.iter().flat_map(|hint| hint.split('\n')) {
            write!(f, "\n         {}", line(one, HINT_CHARS_MAX))?;
        }
        Ok(())
    }
}
