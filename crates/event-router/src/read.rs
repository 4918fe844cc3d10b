//! From a file or a text to a router, or every mistake in it.

use std::path::Path;

use outbox_finding::{Finding, Report};

use crate::{Router, parse, spelling};

impl Router {
    /// Reads the text of an `event_router.yaml`; `file` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake in the file, not just the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Report> {
        let (router, findings) = Self::examine(file, text);
        if findings.is_empty() {
            return Ok(router);
        }
        let mut report = Report::default();
        report.add_text(file, text);
        report.add(findings);
        Err(report)
    }

    /// The routes that could be read from a text, and every mistake in it.
    pub fn examine(file: &str, text: &str) -> (Self, Vec<Finding>) {
        parse::examine(file, text)
    }

    /// Reads an `event_router.yaml` from disk.
    ///
    /// # Errors
    ///
    /// As [`Router::parse`], or the file can't be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        let text = decode(&file, bytes).map_err(ReadError::Findings)?;
        Self::parse(&file, &text).map_err(ReadError::Findings)
    }
}

/// Decodes a file's text. It must be UTF-8, because Terraform reads nothing else.
///
/// # Errors
///
/// The place of the first byte that is not UTF-8.
pub fn decode(file: &str, bytes: Vec<u8>) -> Result<String, Report> {
    String::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let place = spelling::place(file, &before, before.len());
        let mut report = Report::default();
        report.add_text(file, String::from_utf8_lossy(error.as_bytes()));
        report.add([Finding::error(
            place,
            "the file is not UTF-8",
            "save it as UTF-8; editors call it the encoding",
        )]);
        report
    })
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("error: failed to read {file}: {source}\n  pass --router FILE; the README shows what is in it")]
    Io { file: String, source: std::io::Error },
    #[error("{0}")]
    Findings(Report),
}
