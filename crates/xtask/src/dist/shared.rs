//! What archive and Debian package have beside the programs: manual pages, completions, units, documents and licences.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::process::root;

use super::programs::Programs;
use super::release::Release;
use super::{archive as tar, steps};

const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "UPGRADING.md", "SECURITY.md"];
/// What the archive has of the repository, by its paths there: Terraform modules, alerts, dashboards, clients, the guide, and what they
/// name.
const PARTS: [&str; 10] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "clients",
    "crates/outbox/examples",
    "docs",
    "event_router.yaml",
    "infra",
    "ops",
    "proto",
];
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// `outbox-VERSION-TRIPLE.tar.gz`
pub(super) fn archive(release: &Release, programs: &Programs, notices: &str) -> Result<(), String> {
    steps::began("archive: tar, gzip");
    let inside = release.name();
    let folder = release.work.path().join("archive").join(&inside);
    programs.copy_to(&folder)?;
    manual(programs, &folder.join("man/man1"))?;
    completions(programs, |shell, program| {
        folder.join("completions").join(shell).join(file(shell, program))
    })?;
    documents(&folder)?;
    licences(&folder, notices)?;
    let units = root().join("ops/systemd");
    for name in steps::files(&units)? {
        steps::copy(&units.join(&name), &folder.join("systemd").join(&name), 0o644)?;
    }
    parts(&folder)?;
    tar::pack(release, &release.work.path().join("archive"), Some(&inside), &format!("{inside}.tar.gz"))
}

/// Only what git has, because tests and tools leave files beside it.
fn parts(folder: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    let listed = steps::output(git.args(["ls-files", "-z", "--"]).args(PARTS).current_dir(root()))?;
    for name in listed.split_terminator('\0') {
        let from = root().join(name);
        let found = std::fs::metadata(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        let mode = if found.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        steps::copy(&from, &folder.join(name), mode)?;
    }
    Ok(())
}

/// The manual pages of all three programs.
pub(super) fn manual(programs: &Programs, dir: &Path) -> Result<(), String> {
    steps::make_dir(dir)?;
    steps::output(Command::new(programs.path("outbox")).arg("man").arg(dir)).map(|_| ())
}

/// The scripts with which shells complete the programs, each where `place` says.
pub(super) fn completions(
    programs: &Programs,
    place: impl Fn(&str, &str) -> std::path::PathBuf,
) -> Result<(), String> {
    for (program, _) in programs.each() {
        for shell in ["bash", "fish", "zsh"] {
            let mut outbox = Command::new(programs.path("outbox"));
            let script = steps::output(outbox.args(["completions", "--program", program, shell]))?;
            steps::write(&place(shell, program), script, 0o644)?;
        }
    }
    Ok(())
}

/// The name by which a shell finds the script of a program.
pub(super) fn file(shell: &str, program: &str) -> String {
    match shell {
        "fish" => format!("{program}.fish"),
        "zsh" => format!("_{program}"),
        _ => program.to_owned(),
    }
}

pub(super) fn documents(dir: &Path) -> Result<(), String> {
    DOCUMENTS.iter().try_for_each(|name| steps::copy(&root().join(name), &dir.join(name), 0o644))
}

/// Those of this project, and the notices of others.
pub(super) fn licences(dir: &Path, notices: &str) -> Result<(), String> {
    for name in LICENCES {
        steps::copy(&root().join(name), &dir.join(name), 0o644)?;
    }
    steps::write(&dir.join("THIRD-PARTY.txt"), notices, 0o644)
}
