//! The files of a minimal container: programs, the libraries that they need, certificates, and a user. There is no shell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::Programs;
use super::release::Release;
use super::{archive as tar, shared, steps};

/// Where Debian has the certificates of authorities.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// As in `ops/container/Dockerfile`.
const USERS: &str =
    "root:x:0:0:root:/:/sbin/nologin\noutbox:x:65532:65532:Outbox:/etc/outbox:/sbin/nologin\n";
const GROUPS: &str = "root:x:0:\noutbox:x:65532:\n";

/// `outbox-VERSION-TRIPLE-rootfs.tar.gz`
pub(super) fn archive(release: &Release, programs: &Programs, notices: &str) -> Result<(), String> {
    steps::began("container: ldd, tar, gzip");
    let folder = release.work.path().join("rootfs");
    programs.copy_to(&folder.join("usr/local/bin"))?;
    for library in libraries(programs)? {
        let inside = library.strip_prefix("/").unwrap_or(&library);
        // The loader is started as a program.
        steps::copy(&library, &folder.join(inside), 0o755)?;
    }
    if !Path::new(CERTIFICATES).is_file() {
        return Err(format!("there is no {CERTIFICATES}: apt-get install ca-certificates"));
    }
    steps::copy(Path::new(CERTIFICATES), &folder.join(&CERTIFICATES[1..]), 0o644)?;
    steps::write(&folder.join("etc/passwd"), USERS, 0o644)?;
    steps::write(&folder.join("etc/group"), GROUPS, 0o644)?;
    steps::write(&folder.join("etc/nsswitch.conf"), "hosts: files dns\n", 0o644)?;
    steps::make_dir(&folder.join("etc/outbox"))?;
    let documents = folder.join("usr/share/doc");
    shared::licences(&documents.join("outbox"), notices)?;
    // The libraries are of this machine's system, so their licences are, too.
    for package in ["libc6", "libgcc-s1", "ca-certificates"] {
        let copyright = Path::new("/usr/share/doc").join(package).join("copyright");
        if copyright.is_file() {
            steps::copy(&copyright, &documents.join(package).join("copyright"), 0o644)?;
        }
    }
    tar::pack(release, &folder, None, &format!("{}-rootfs.tar.gz", release.name()))
}

/// The shared libraries of the programs, and what loads them.
fn libraries(programs: &Programs) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    for (_, program) in programs.each() {
        for line in steps::output(Command::new("ldd").arg(&program))?.lines() {
            found.extend(library(line)?);
        }
    }
    Ok(found)
}

/// A line is `libc.so.6 => /lib/…/libc.so.6 (0x…)`, `/lib64/ld-linux….so.2 (0x…)`, or names what has no file.
fn library(line: &str) -> Result<Option<PathBuf>, String> {
    let place = line.split_once(" => ").map_or(line, |(_, place)| place).trim();
    if place.starts_with("not found") {
        return Err(format!("a library is missing: {}", line.trim()));
    }
    let path = place.split(' ').next().unwrap_or_default();
    Ok(path.starts_with('/').then(|| PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the minimal container: it has every library of the programs, and a missing one is an error.
    #[test]
    fn libraries_are_read() {
        let read = |line| library(line).map(|path| path.map(|path| path.display().to_string()));
        for (line, expected) in [
            ("\tlinux-vdso.so.1 (0x00007f3f)", None),
            (
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f3f)",
                Some("/lib/x86_64-linux-gnu/libc.so.6"),
            ),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f3f)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tstatically linked", None),
        ] {
            assert_eq!(read(line), Ok(expected.map(str::to_owned)), "{line}");
        }
        assert!(read("\tlibz.so.1 => not found").unwrap_err().contains("libz.so.1"));
    }
}
