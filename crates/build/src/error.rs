use std::fmt;
use std::path::PathBuf;

use outbox_contract::ReadError;
use outbox_finding::Report;

/// Why no code was generated. `Debug` is made for reading, because Rust prints a build script's error with `{:?}`.
#[derive(thiserror::Error)]
pub enum Error {
    #[error("the proto files are not what events need\n\n{0}\n")]
    Proto(Report),
    #[error(transparent)]
    Read(ReadError),
    #[error("failed to write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to generate code: {0}")]
    Generate(std::io::Error),
    #[error("OUT_DIR is not set: call this from build.rs")]
    NoOutDir,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
