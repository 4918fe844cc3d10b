use std::path::{Path, PathBuf};

use finding::Report;
use prost_reflect::DescriptorPool;
use walkdir::WalkDir;

use crate::{Contract, Files, SourceFile, compile};

/// Where proto comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Directories whose `.proto` files are all read, and are what imports are relative to; or files with a descriptor
    /// set, as outbox-build, buf and protoc write them.
    pub protos: Vec<PathBuf>,
    /// Directories in which only imports are looked up.
    pub includes: Vec<PathBuf>,
}

impl Sources {
    pub fn read(&self) -> Result<Contract, ReadError> {
        if let [path] = self.protos.as_slice()
            && path.is_file()
        {
            return descriptor_set(path);
        }
        let mut files = Vec::new();
        for root in &self.protos {
            files.extend(proto_files(root)?);
        }
        let (pool, files) = compile::compile(self, &files).map_err(ReadError::Findings)?;
        Ok(Contract::new(pool, files))
    }
}

/// Why there are no descriptors.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("failed to read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("there is no .proto file below {0}")]
    Empty(PathBuf),
    #[error("{path} is neither a directory of .proto files nor a descriptor set: {source}")]
    NotDescriptors { path: PathBuf, source: prost_reflect::DescriptorError },
    #[error("{0}")]
    Findings(Report),
}

fn proto_files(root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    for entry in WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible) {
        let entry = entry.map_err(|error| ReadError::Io {
            path: error.path().unwrap_or(root).to_owned(),
            source: error.into(),
        })?;
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|end| end == "proto") {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() { Err(ReadError::Empty(root.to_owned())) } else { Ok(files) }
}

fn descriptor_set(path: &Path) -> Result<Contract, ReadError> {
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let pool = DescriptorPool::decode(bytes.as_slice())
        .map_err(|source| ReadError::NotDescriptors { path: path.to_owned(), source })?;
    let own = |name: &str| !name.starts_with("google/protobuf/") && name != compile::OPTIONS;
    let files: Files = pool
        .files()
        .filter(|file| own(file.name()))
        .map(|file| (file.name().to_owned(), SourceFile { shown: file.name().to_owned(), text: None }))
        .collect();
    if files.is_empty() {
        return Err(ReadError::Empty(path.to_owned()));
    }
    Ok(Contract::new(pool, files))
}
