//! graphile-worker and pg-boss: programs for Node.js, installed below `target` and nowhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::result::Result;

const FILES: [(&str, &str); 5] = [
    ("package.json", include_str!("../../peers/package.json")),
    ("package-lock.json", include_str!("../../peers/package-lock.json")),
    ("entered.mjs", include_str!("../../peers/entered.mjs")),
    ("graphile.mjs", include_str!("../../peers/graphile.mjs")),
    ("boss.mjs", include_str!("../../peers/boss.mjs")),
];
/// For a slow registry.
const PATIENCE: Duration = Duration::from_secs(300);
/// Written last, with the installed versions: an interrupted installation does not count.
const INSTALLED: &str = "installed.json";

/// A peer's own SQL.
#[derive(Debug, Deserialize)]
pub(crate) struct Statements {
    /// `$1` is a payload.
    pub(crate) enqueue: String,
    /// `$1` is an array of payloads.
    pub(crate) fill: String,
    pub(crate) empty: String,
}

/// The directory of the peers' scripts.
pub(crate) async fn installed() -> Result<PathBuf> {
    let dir = testkit::process::target().join("bench-peers");
    std::fs::create_dir_all(&dir)?;
    for (name, text) in FILES {
        std::fs::write(dir.join(name), text)?;
    }
    let (lock, installed) = (FILES[1].1, dir.join(INSTALLED));
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == lock) {
        said("node", &["--version"], &dir).await?;
        return Ok(dir);
    }
    eprintln!("installing graphile-worker and pg-boss below target (npm)");
    said("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"], &dir).await?;
    std::fs::write(installed, lock)?;
    Ok(dir)
}

/// Creates the peer's tables, and returns its statements.
pub(crate) async fn set_up(dir: &Path, script: &str, url: &str) -> Result<Statements> {
    Ok(serde_json::from_str(&said("node", &[script, "setup", url], dir).await?)?)
}

async fn said(program: &str, args: &[&str], dir: &Path) -> Result<String> {
    let output = Command::new(program).args(args).current_dir(dir).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.map_err(|_| format!("{program} {} does not end", args[0]))?;
    let output =
        output.map_err(|error| format!("{program}: {error}; install Node.js 20 or later, with npm"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", args[0], error.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
