//! The file in which `outbox dev` notes its database, so that other commands in the same folder find it. It is outside of the
//! folder, because an address may hold a password, and a repository must not.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The address of the database of the `outbox dev` that runs in this folder.
pub(crate) fn database() -> Option<String> {
    let mut file = File::open(path(&folder()?)).ok()?;
    // In a directory for all users, another user could have made it.
    if file.metadata().ok()?.uid() != user()? {
        return None;
    }
    let mut address = String::new();
    file.read_to_string(&mut address).ok()?;
    Some(address.trim().to_owned()).filter(|address| !address.is_empty())
}

/// This process's user. Only a file of its own shows it without system calls of C.
pub(crate) fn user() -> Option<u32> {
    Some(tempfile::tempfile().ok()?.metadata().ok()?.uid())
}

/// This folder, by the one name that all of its links share.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::current_dir().and_then(std::fs::canonicalize).ok()
}

fn path(folder: &Path) -> PathBuf {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    dir.unwrap_or_else(std::env::temp_dir).join(format!("outbox-dev-{:016x}.url", hash(folder)))
}

/// FNV-1a: the same in every build, which the standard library does not promise of its own.
pub(crate) fn hash(folder: &Path) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    folder.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The file of a running `outbox dev`; it is removed when this is dropped.
#[cfg(feature = "dev")]
#[derive(Debug)]
pub(crate) struct Noted {
    path: PathBuf,
    address: String,
}

#[cfg(feature = "dev")]
impl Noted {
    pub(crate) fn write(address: &str) -> std::io::Result<Self> {
        use std::io::Write;
        let folder = folder().ok_or_else(|| std::io::Error::other("this folder has no name"))?;
        let path = path(&folder);
        let dir = path.parent().unwrap_or(Path::new("/"));
        // A temporary file is readable by its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(address.as_bytes())?;
        file.persist(&path)?;
        Ok(Self { path, address: address.to_owned() })
    }
}

#[cfg(feature = "dev")]
impl Drop for Noted {
    fn drop(&mut self) {
        // Another `outbox dev` of this folder may have replaced it.
        if std::fs::read_to_string(&self.path).is_ok_and(|noted| noted == self.address) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: `outbox send` finds the `outbox dev` of its own folder, and of no other.
    #[test]
    fn each_folder_has_its_own_file() {
        assert_eq!(hash(Path::new("/home/me/cards")), hash(Path::new("/home/me/cards")));
        assert_ne!(hash(Path::new("/home/me/cards")), hash(Path::new("/home/me/ledger")));
        assert_eq!(hash(Path::new("")), 0xcbf2_9ce4_8422_2325);
    }
}
