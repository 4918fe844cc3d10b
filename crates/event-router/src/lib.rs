//! `event_router.yaml`: which event runs which RPC, and with what delivery policy.
//!
//! It is pure: a text gives a [`Router`] or every finding, each with its line and its remedy.

pub mod names;
mod parse;
mod policy;
mod rpc;
mod spelling;
mod yaml;

pub use policy::{Backoff, Policy};
pub use rpc::Rpc;

use std::collections::BTreeMap;
use std::path::Path;

use finding::{Finding, Place, Report};

/// The routes of one `event_router.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    events: BTreeMap<String, Listed>,
    rpcs: BTreeMap<Rpc, (Policy, Place)>,
}

/// An event of the file; `places` has the place of each of `rpcs`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    place: Place,
    rpcs: Vec<Rpc>,
    places: Vec<Place>,
}

/// An event and one RPC that subscribes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    pub event: &'a str,
    pub rpc: &'a Rpc,
    pub policy: &'a Policy,
    /// The RPC's place in the event's list.
    pub place: &'a Place,
}

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

    /// The RPCs that run when `event` is published, in the file's order; empty without subscribers.
    pub fn subscribers(&self, event: &str) -> &[Rpc] {
        self.events.get(event).map_or(&[], |listed| &listed.rpcs)
    }

    /// Whether the file has this event, with subscribers or without.
    pub fn lists(&self, event: &str) -> bool {
        self.events.contains_key(event)
    }

    /// Every RPC once, with its delivery policy, sorted by name.
    pub fn rpcs(&self) -> impl Iterator<Item = (&Rpc, &Policy)> {
        self.rpcs.iter().map(|(rpc, (policy, _))| (rpc, policy))
    }

    /// Every event with its place, sorted by name, including those without subscribers.
    pub fn events(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.events.iter().map(|(name, listed)| (name.as_str(), &listed.place))
    }

    /// Every pair of event and RPC, sorted by the event's name.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.events.iter().flat_map(|(event, listed)| {
            listed.rpcs.iter().zip(&listed.places).map(|(rpc, place)| Route {
                event,
                rpc,
                policy: &self.rpcs[rpc].0,
                place,
            })
        })
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
