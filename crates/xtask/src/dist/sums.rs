//! `SHA256SUMS`, in the form that `sha256sum --check` reads.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::steps;

const NAME: &str = "SHA256SUMS";

/// Returns the number of files.
pub(super) fn write(out: &Path) -> Result<usize, String> {
    let mut list = String::new();
    let files: Vec<String> = steps::files(out)?.into_iter().filter(|name| name != NAME).collect();
    for name in &files {
        let contents = std::fs::read(out.join(name)).map_err(|error| format!("{name}: {error}"))?;
        for byte in Sha256::digest(contents) {
            let _ = write!(list, "{byte:02x}");
        }
        let _ = writeln!(list, "  {name}");
    }
    steps::write(&out.join(NAME), list, 0o644)?;
    Ok(files.len())
}

/// Removes the files that an earlier run listed, and nothing else: the directory may be the user's.
pub(super) fn remove_former(out: &Path) -> Result<(), String> {
    let Ok(list) = std::fs::read_to_string(out.join(NAME)) else { return Ok(()) };
    let names = list.lines().filter_map(|line| Some(line.split_once("  ")?.1)).chain([NAME]);
    for name in names.filter(|name| !name.starts_with('/') && !name.contains("..")) {
        match std::fs::remove_file(out.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{name}: {error}"));
            }
            _ => (),
        }
    }
    Ok(())
}
