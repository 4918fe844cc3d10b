//! Reproducible tar files: sorted, with one time, and without the user who made them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::release::Release;
use super::steps;

/// Packs what is in `folder`. `inside` is its name in the archive; without it the content is at the top.
pub(super) fn pack(release: &Release, folder: &Path, inside: Option<&str>, name: &str) -> Result<(), String> {
    let file = release.out.join(name);
    let written = std::fs::File::create(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u+rw,go+rX,go-w", &format!("--mtime=@{}", release.epoch)])
        .arg("--directory")
        .arg(folder);
    // The folder itself would bring its own permissions.
    let names: Vec<_> = match inside {
        Some(inside) => vec![inside.to_owned()],
        None => entries(folder)?,
    };
    let mut tar = tar.args(names).stdout(Stdio::piped()).spawn().map_err(|error| format!("tar: {error}"))?;
    let stream = tar.stdout.take().ok_or("tar has no output")?;
    // -n: no name and no time of the original.
    steps::succeeds(Command::new("gzip").args([release.compression, "-n"]).stdin(stream).stdout(written))?;
    let ended = tar.wait().map_err(|error| format!("tar: {error}"))?;
    if !ended.success() {
        return Err(format!("tar, which must be GNU tar: {ended}"));
    }
    release.wrote(name);
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<String>, String> {
    let read = || -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let mut names = read().map_err(|error| format!("{}: {error}", folder.display()))?;
    names.sort();
    Ok(names)
}
