//! `THIRD-PARTY.txt`: the licences of others whose code is in the programs, as their packages have them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::dependencies::{Dependencies, Id};

/// The beginnings of the names of files that a package must be passed on with.
const FILES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

pub(super) fn text(dependencies: &Dependencies) -> Result<String, String> {
    let mut list = String::from(
        "The programs outbox, relay and worker contain these packages of others. Their licences follow the list.\n\n",
    );
    // One text for all packages that have it.
    let mut texts: BTreeMap<String, Vec<&Id>> = BTreeMap::new();
    let linked = dependencies.0.iter().filter(|(_, dependency)| dependency.is_linked);
    // The project's own have no checksum, and their licences stand beside this file.
    for (id, dependency) in linked.filter(|(_, dependency)| dependency.checksum.is_some()) {
        let (name, version) = id;
        let _ = writeln!(list, "{name} {version}: {}", dependency.license);
        for text in licences(&dependency.dir).map_err(|error| format!("{name} {version}: {error}"))? {
            texts.entry(text).or_default().push(id);
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    for (of, text) in texts {
        let names: Vec<_> = of.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let _ = write!(list, "\n{}\n{}\n\n{text}\n", "=".repeat(100), names.join(", "));
    }
    Ok(list)
}

fn licences(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if FILES.iter().any(|file| name.starts_with(file)) && path.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            // Line ends differ between packages, and the text does not.
            found.push(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
