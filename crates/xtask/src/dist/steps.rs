//! Files, folders, and commands that must succeed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

pub(super) fn began(step: &str) {
    println!("=== {step}");
}

/// Runs a command whose output the reader is to see.
pub(super) fn succeeds(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {status}", shown(command))),
        Err(error) => Err(missing(command, &error)),
    }
}

/// What a command printed.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| missing(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {}", shown(command), output.status, said.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{}: its output is not UTF-8", shown(command)))
}

fn missing(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().display();
    format!("`{program}` can't be started: {error}. Is it installed, and on the PATH?")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(super) fn make_dir(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file, and the folders above it. The umask of the caller must not be visible in an archive.
pub(super) fn write(path: &Path, contents: impl AsRef<[u8]>, mode: u32) -> Result<(), String> {
    make_dir(path.parent().unwrap_or(Path::new("/")))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    let written = std::fs::write(path, contents).and_then(|()| std::fs::set_permissions(path, permissions));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let contents = std::fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    write(to, contents, mode)
}

/// Every file below a folder, by its path from there, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    collect(folder, "", &mut found).map_err(|error| format!("{}: {error}", folder.display()))?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, above: &str, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}
