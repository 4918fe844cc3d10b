//! For your service's `build.rs`: turns proto into Rust types that can be enqueued. It needs no protoc.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), outbox_build::Error> {
//!     outbox_build::compile("../../proto")
//! }
//! ```
//!
//! and in the service:
//!
//! ```ignore
//! pub mod proto {
//!     outbox::include_proto!();
//! }
//!
//! outbox::enqueue(&mut tx, &proto::hoge::v1::HogeUpdatedEvent { hoge_id: "1".into() }).await?;
//! ```
//!
//! Every message below the directory becomes a [prost](https://docs.rs/prost) type, in a module for each part of its package.
//! It serializes as canonical proto3 JSON. Every value of an `enum Event` makes its message an `outbox::Event`:
//! `EVENT_HOGE_UPDATED` belongs to `HogeUpdatedEvent` and is published as `event_hoge_updated`. A breach of the convention is a
//! build error with the file, the line and the remedy.
//!
//! A field can be the event's key. Events with one key stay in order:
//!
//! ```proto
//! syntax = "proto3";
//!
//! package card.v1;
//!
//! import "outbox/options.proto";
//!
//! enum Event {
//!   EVENT_UNSPECIFIED = 0;
//!   EVENT_CARD_TRANSACTION_SETTLED = 1;
//! }
//!
//! message CardTransactionSettledEvent {
//!   string card_id = 2 [(outbox.key) = true];
//! }
//! ```

mod error;
mod names;
mod rust;

pub use error::Error;

use std::path::{Path, PathBuf};

use outbox_contract::{Contract, ReadError, Sources};
use outbox_finding::{Report, Severity};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Generates into `OUT_DIR` what `outbox::include_proto!()` includes, from every `.proto` file below a directory.
///
/// # Errors
///
/// Every mistake in the files, each with its line; see [`Error`].
pub fn compile(proto: impl AsRef<Path>) -> Result<(), Error> {
    Config::new(proto).compile().map(|_| ())
}

/// [`compile`] with options.
#[derive(Debug, Clone)]
pub struct Config {
    sources: Sources,
    descriptor_set: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

impl Config {
    /// The directory whose `.proto` files are compiled, and to which their imports are relative.
    pub fn new(proto: impl AsRef<Path>) -> Self {
        let sources =
            Sources { protos: vec![proto.as_ref().to_owned()], includes: Vec::new(), ..Sources::default() };
        Self { sources, descriptor_set: None, out_dir: None }
    }

    /// One more directory of `.proto` files to compile.
    #[must_use]
    pub fn proto(mut self, dir: impl AsRef<Path>) -> Self {
        self.sources.protos.push(dir.as_ref().to_owned());
        self
    }

    /// A package whose `enum Event` has the events. Repeat for several. Without one, that of every package counts.
    ///
    /// It is for a tree in which another package has an `enum Event` of its own, or a newer version of the same events.
    #[must_use]
    pub fn events_package(mut self, package: &str) -> Self {
        self.sources.events.add(package);
        self
    }

    /// A directory in which imports are looked up.
    #[must_use]
    pub fn include(mut self, dir: impl AsRef<Path>) -> Self {
        self.sources.includes.push(dir.as_ref().to_owned());
        self
    }

    /// Also writes the descriptor set here, with comments and lines, for `worker --proto FILE`, reflection, or another code
    /// generator. Without them it is always in `OUT_DIR` as `outbox.bin`, and in the generated code as `DESCRIPTOR_SET`.
    #[must_use]
    pub fn descriptor_set(mut self, path: impl AsRef<Path>) -> Self {
        self.descriptor_set = Some(path.as_ref().to_owned());
        self
    }

    /// Where the code goes, instead of `OUT_DIR`: for a build tool other than cargo.
    #[must_use]
    pub fn out_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.out_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// See [`compile`]. Returns the names of the compiled files in the descriptor set, for other generators.
    ///
    /// # Errors
    ///
    /// As [`compile`].
    pub fn compile(self) -> Result<Vec<String>, Error> {
        let out = self.out_dir.or_else(|| std::env::var_os("OUT_DIR").map(PathBuf::from));
        let out = out.ok_or(Error::NoOutDir)?;
        for dir in self.sources.protos.iter().chain(&self.sources.includes) {
            println!("cargo::rerun-if-changed={}", dir.display());
        }
        let contract = self.sources.read().map_err(|error| match error {
            ReadError::Findings(report) => Error::Proto(report),
            error => Error::Read(error),
        })?;
        let report = check(&contract);
        if report.count(Severity::Error) > 0 {
            return Err(Error::Proto(report));
        }
        for line in report.to_string().lines() {
            println!("cargo::warning={line}");
        }
        if let Some(path) = &self.descriptor_set {
            write(path, &contract.pool().encode_to_vec())?;
        }
        write(&out.join("outbox.bin"), &without_comments(&contract))?;
        names::check(&contract)?;
        write(&out.join("outbox.rs"), rust::generate(&contract)?.as_bytes())?;
        Ok(contract.files().map(|file| file.name().to_owned()).collect())
    }
}

fn check(contract: &Contract) -> Report {
    let mut report = Report::default();
    contract.add_texts(&mut report);
    report.add(contract.findings().iter().cloned());
    report
}

/// A service needs no comments of its proto files; their options stay.
fn without_comments(contract: &Contract) -> Vec<u8> {
    let descriptor = FileDescriptorProto::default().descriptor();
    let files = contract.pool().files().map(|file| {
        let encoded = file.encode_to_vec();
        let mut file = DynamicMessage::decode(descriptor.clone(), encoded.as_slice())
            .expect("a pool encodes what it decodes");
        file.clear_field_by_name("source_code_info");
        Value::Message(file)
    });
    let mut set = FileDescriptorSet::default().transcode_to_dynamic();
    set.set_field_by_name("file", Value::List(files.collect()));
    set.encode_to_vec()
}

/// Writes only a changed file, because cargo may watch its directory.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    std::fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}
