//! Files that are read again when they change: tokens, certificates and secrets are replaced while a worker runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_runtime::Guarded;

/// A new token is used after this time at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const BYTES_MAX: u64 = 1 << 20;

/// What `make` makes of some files. If they can't be used any more, the last value stays.
pub(super) struct Reread<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    held: Guarded<Held<T>>,
}

type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

struct Held<T> {
    looked: Instant,
    read: Vec<Vec<u8>>,
    value: Arc<T>,
    /// The problem that was logged.
    said: Option<FileError>,
}

/// A file that can't be used. It has no part of the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("failed to read {file}: {problem}")]
    Read { file: String, problem: String },
    #[error("{files} can't be used: {problem}")]
    Content { files: String, problem: String },
}

impl<T> Reread<T> {
    pub(super) fn open(
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let read = read_all(&files)?;
        let value = made(&files, &make, &read)?;
        let held = Held { looked: Instant::now(), read, value, said: None };
        Ok(Self { files, make: Box::new(make), held: Guarded::new(held) })
    }

    /// The newest usable value. The files are small and local, so reading them holds no other task up.
    pub(super) fn get(&self) -> Arc<T> {
        let mut held = self.held.lock();
        if held.looked.elapsed() >= LOOK_EVERY {
            held.looked = Instant::now();
            self.look(&mut held);
        }
        Arc::clone(&held.value)
    }

    fn look(&self, held: &mut Held<T>) {
        let read = match read_all(&self.files) {
            Ok(read) => read,
            Err(error) => return say(held, error),
        };
        if read == held.read {
            held.said = None;
            return;
        }
        match made(&self.files, &*self.make, &read) {
            Ok(value) => {
                *held = Held { looked: held.looked, read, value, said: None };
                tracing::info!(files = shown(&self.files), "changed, and read again");
            }
            Err(error) => say(held, error),
        }
    }
}

fn say<T>(held: &mut Held<T>, error: FileError) {
    if held.said.as_ref() != Some(&error) {
        tracing::error!(%error, "the last usable content stays in use");
        held.said = Some(error);
    }
}

fn made<T>(files: &[PathBuf], make: &Make<T>, read: &[Vec<u8>]) -> Result<Arc<T>, FileError> {
    let content = |problem| FileError::Content { files: shown(files), problem };
    make(read).map(Arc::new).map_err(content)
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |problem: String| FileError::Read { file: file.display().to_string(), problem };
    let bytes = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if bytes > BYTES_MAX {
        return Err(failed(format!("it has {bytes} bytes, more than {BYTES_MAX}")));
    }
    std::fs::read(file).map_err(|error| failed(error.to_string()))
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl<T> fmt::Debug for Reread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").field("files", &self.files).finish_non_exhaustive()
    }
}
