use std::path::{Path, PathBuf};

use outbox_finding::{Finding, Report, Severity};
use prost_reflect::DescriptorPool;
use prost_reflect::prost::Message;
use prost_types::FileDescriptorSet;
use walkdir::WalkDir;

use crate::files::{Files, SourceFile};
use crate::selection::Selection;
use crate::{Contract, compile, editions};

/// Where proto comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Directories with `.proto` files, which are all read and to which imports are relative. Or files with a descriptor set,
    /// as outbox-build, buf and protoc write them.
    pub protos: Vec<PathBuf>,
    /// Directories in which only imports are looked up.
    pub includes: Vec<PathBuf>,
    /// Which packages have events.
    pub events: Selection,
}

impl Sources {
    pub fn read(&self) -> Result<Contract, ReadError> {
        match self.protos.as_slice() {
            [path] if path.is_file() => return descriptor_set(path, &self.events),
            _ => {}
        }
        self.overlaps()?;
        let dirs: Vec<&Path> = self.protos.iter().chain(&self.includes).map(PathBuf::as_path).collect();
        let mut files = Vec::new();
        for root in &self.protos {
            files.extend(proto_files(root)?);
        }
        let (pool, files, passed_over) = compile::compile(&dirs, &files).map_err(ReadError::Findings)?;
        if files.is_empty() {
            return Err(nothing_left(passed_over));
        }
        Ok(Contract::new(pool, files, &self.events, passed_over))
    }

    /// Refuses a file that is found under two names: it would define everything twice.
    fn overlaps(&self) -> Result<(), ReadError> {
        let mut seen: Vec<(&PathBuf, PathBuf)> = Vec::new();
        for root in self.protos.iter().chain(&self.includes) {
            let real = root.canonicalize().map_err(|source| ReadError::Io { path: root.clone(), source })?;
            if real.is_file() {
                return Err(ReadError::FileAmongSeveral(root.clone()));
            }
            let inside =
                |(_, other): &&(&PathBuf, PathBuf)| real.starts_with(other) || other.starts_with(&real);
            if let Some((other, _)) = seen.iter().find(inside) {
                return Err(ReadError::Overlap { one: (*other).clone(), other: root.clone() });
            }
            seen.push((root, real));
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("failed to read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("there is no .proto file below {0}")]
    Empty(PathBuf),
    #[error("{one} and {other} overlap, and imports are relative to one directory")]
    Overlap { one: PathBuf, other: PathBuf },
    #[error("{0} is a file: a descriptor set stands alone, and .proto files are found below a directory")]
    FileAmongSeveral(PathBuf),
    #[error("{path} is neither a directory of .proto files nor a descriptor set: {reason}")]
    NotDescriptors { path: PathBuf, reason: String },
    #[error("{0}")]
    Findings(Report),
}

fn proto_files(root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    let is_hidden = |path: &Path| {
        path != root && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    let walk = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| !is_hidden(entry.path())) {
        match entry {
            Ok(entry) => {
                let is_proto = entry.path().extension().is_some_and(|end| end == "proto");
                if entry.file_type().is_file() && is_proto {
                    files.push(entry.into_path());
                }
            }
            Err(error) if is_beside_the_point(&error, &is_hidden) => {}
            Err(error) => {
                let path = error.path().unwrap_or(root).to_owned();
                return Err(ReadError::Io { path, source: error.into() });
            }
        }
    }
    if files.is_empty() { Err(ReadError::Empty(root.to_owned())) } else { Ok(files) }
}

/// Links that lead nowhere or back, and an editor's hidden files.
fn is_beside_the_point(error: &walkdir::Error, is_hidden: &dyn Fn(&Path) -> bool) -> bool {
    let dangles = |path: &Path| path.is_symlink() && !path.exists();
    error.loop_ancestor().is_some() || error.path().is_some_and(|path| is_hidden(path) || dangles(path))
}

/// Without any other file, what is passed over is a mistake.
fn nothing_left(passed_over: Vec<Finding>) -> ReadError {
    let mut report = Report::default();
    report.add(passed_over.into_iter().map(|found| Finding { severity: Severity::Error, ..found }));
    ReadError::Findings(report)
}

fn descriptor_set(path: &Path, events: &Selection) -> Result<Contract, ReadError> {
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let refused = |reason: String| ReadError::NotDescriptors { path: path.to_owned(), reason };
    let mut set = FileDescriptorSet::decode(bytes.as_slice()).map_err(|error| refused(error.to_string()))?;
    let passed_over = editions::pass_over(&mut set);
    // Only the bytes have the options that are declared by the files themselves.
    let bytes = if passed_over.is_empty() { bytes } else { editions::without(&bytes, &passed_over) };
    let pool = DescriptorPool::decode(bytes.as_slice()).map_err(|error| refused(error.to_string()))?;
    let own = |name: &str| !name.starts_with("google/protobuf/") && name != compile::OPTIONS;
    let files: Files = pool
        .files()
        .filter(|file| own(file.name()))
        .map(|file| (file.name().to_owned(), SourceFile { shown: file.name().to_owned(), text: None }))
        .collect();
    let passed_over: Vec<Finding> =
        passed_over.iter().map(|(file, needs)| editions::passed_over(file, needs.as_deref())).collect();
    if files.is_empty() {
        let is_empty = passed_over.is_empty();
        return Err(if is_empty { ReadError::Empty(path.to_owned()) } else { nothing_left(passed_over) });
    }
    Ok(Contract::new(pool, files, events, passed_over))
}
