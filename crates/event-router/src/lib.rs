//! `event_router.yaml`: which event runs which RPC, and with what delivery policy.
//!
//! Pure: text in, a [`Router`] or every [`Finding`] out, each with its line and what to write instead.

mod finding;
mod parse;
mod policy;
mod rpc;
mod yaml;

pub use finding::{Finding, Findings, ReadError};
pub use policy::{Backoff, Policy};
pub use rpc::Rpc;

use std::collections::BTreeMap;
use std::path::Path;

/// The routes of one `event_router.yaml`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    events: BTreeMap<String, Vec<Rpc>>,
    rpcs: BTreeMap<Rpc, Policy>,
}

impl Router {
    /// Reads the text of an `event_router.yaml`; `file` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake in the file, not just the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Findings> {
        parse::router(file, text)
    }

    /// Reads an `event_router.yaml` from disk.
    ///
    /// # Errors
    ///
    /// As [`Router::parse`], or that the file can't be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let file = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        Self::parse(&file, &text).map_err(ReadError::Findings)
    }

    /// The RPCs that run when `event` is published, in the file's order; empty if nobody wants it.
    pub fn subscribers(&self, event: &str) -> &[Rpc] {
        self.events.get(event).map_or(&[], Vec::as_slice)
    }

    /// Every RPC with its delivery policy, each once, by name.
    pub fn rpcs(&self) -> impl Iterator<Item = (&Rpc, &Policy)> {
        self.rpcs.iter()
    }

    /// Every event with its subscribers, by name.
    pub fn events(&self) -> impl Iterator<Item = (&str, &[Rpc])> {
        self.events.iter().map(|(name, rpcs)| (name.as_str(), rpcs.as_slice()))
    }
}
