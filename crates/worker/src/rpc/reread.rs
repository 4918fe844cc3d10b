//! Files that are read again when they change: tokens, certificates and secrets are replaced while a worker runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_finding::Place;
use outbox_runtime::Guarded;

/// A new token is used after this time at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const BYTES_MAX: u64 = 1 << 20;

/// What `make` makes of some files. If they can't be used any more, the last value stays.
pub(super) struct Reread<T> {
    files: Vec<Named>,
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
    /// The name is left out: it may be the secret itself.
    #[error("the file that {by} names can't be found: {problem}")]
    Missing { by: String, problem: String },
    #[error("failed to read {file}: {problem}")]
    Read { file: String, problem: String },
    #[error("{files} can't be used: {problem}")]
    Content { files: String, problem: String },
}

/// A file, and what names it: the key and the place of its entry in services.yaml.
#[derive(Debug, Clone)]
pub(super) struct Named {
    path: PathBuf,
    by: String,
}

impl Named {
    pub(super) fn by(key: &str, place: &Place, path: PathBuf) -> Self {
        Self { path, by: format!("`{key}` of the entry at {place}") }
    }
}

impl<T> Reread<T> {
    pub(super) fn open(
        files: Vec<Named>,
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

fn made<T>(files: &[Named], make: &Make<T>, read: &[Vec<u8>]) -> Result<Arc<T>, FileError> {
    let content = |problem| FileError::Content { files: shown(files), problem };
    make(read).map(Arc::new).map_err(content)
}

fn read_all(files: &[Named]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(read).collect()
}

fn read(Named { path, by }: &Named) -> Result<Vec<u8>, FileError> {
    let missing = |error: std::io::Error| FileError::Missing { by: by.clone(), problem: error.to_string() };
    let failed = |problem: String| FileError::Read { file: path.display().to_string(), problem };
    // What can't be found is no file, for example a token: also with a name that is too long.
    let bytes = std::fs::metadata(path).map_err(missing)?.len();
    if bytes > BYTES_MAX {
        return Err(failed(format!("it has {bytes} bytes, more than {BYTES_MAX}")));
    }
    std::fs::read(path).map_err(|error| failed(error.to_string()))
}

fn shown(files: &[Named]) -> String {
    files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl<T> fmt::Debug for Reread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").field("files", &self.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards SECURITY.md: a name without a file may be the secret itself. It is not shown, at the start or when the file is gone.
    #[test]
    fn the_name_of_a_missing_file_is_not_shown() {
        let place = Place { line: 2, column: 3, ..Place::start_of("services.yaml") };
        let open = |path: PathBuf| {
            Reread::open(vec![Named::by("token", &place, path)], |read| match read[0].is_empty() {
                true => Err("it is empty".to_owned()),
                false => Ok(()),
            })
        };
        let long = "s3cret".repeat(1000);
        for token in ["s3cret", "eyJ.s3cret/x", &long] {
            let said = open(PathBuf::from(token)).unwrap_err().to_string();
            assert!(said.contains("`token` of the entry at services.yaml:2:3"), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
        let file = std::env::temp_dir().join(format!("outbox-s3cret-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let said = open(file.clone()).unwrap_err().to_string();
        assert!(
            said.contains("s3cret") && said.contains("it is empty"),
            "a file that exists is named: {said}"
        );
        std::fs::write(&file, "one").unwrap();
        let reread = open(file.clone()).unwrap();
        std::fs::remove_file(&file).unwrap();
        reread.look(&mut reread.held.lock());
        let said = reread.held.lock().said.clone().unwrap().to_string();
        assert!(said.contains("services.yaml:2:3") && !said.contains("s3cret"), "{said}");
    }
}
