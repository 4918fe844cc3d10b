//! Servers of other versions of Postgres than the machine's. They are unpacked below `target`, and nothing is installed.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::tools::{self, ToolError};

/// The versions that are supported.
pub const SUPPORTED: [u32; 5] = [14, 15, 16, 17, 18];
/// The newest version that is refused.
pub const TOO_OLD: u32 = 13;

/// A released server of each version, by the version of its package on npm. ("beta" is a part of the package's name.)
const PACKAGES: [(u32, &str); 6] = [
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// A link that belongs to a package. npm packs no links, so the package lists them.
#[derive(Debug, serde::Deserialize)]
struct Link {
    /// An existing file, in the same directory.
    source: PathBuf,
    /// The missing name.
    target: PathBuf,
}

/// The directory of one version, with its `bin`, `lib` and `share`, unpacked if need be.
pub fn unpacked(major: u32) -> Result<PathBuf, ToolError> {
    let package = package();
    let pinned = PACKAGES.iter().find(|(version, _)| *version == major);
    let (_, version) = pinned.ok_or_else(|| ToolError::Missing {
        program: format!("PostgreSQL {major}"),
        remedy: "a version in PACKAGES of crates/testkit/src/servers.rs".to_owned(),
    })?;
    let package = tools::npm_package(&package, version)?;
    link(&package).map_err(|error| ToolError::Install {
        command: format!("link the libraries of {}", package.display()),
        reason: error.to_string(),
    })?;
    Ok(package.join("native"))
}

/// npm has its own names for systems and processors.
fn package() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("@embedded-postgres/{system}-{processor}")
}

/// Makes the missing links. Tests may do this side by side, and each does it before it uses the package.
fn link(package: &Path) -> std::io::Result<()> {
    let links: Vec<Link> = serde_json::from_slice(&std::fs::read(package.join("native/pg-symlinks.json"))?)?;
    for Link { source, target } in links {
        let file = source.file_name().ok_or(ErrorKind::InvalidData)?;
        match symlink(file, package.join(target)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
