//! Finds the revision of this source: `OUTBOX_REVISION`, the package's `.cargo_vcs_info.json`, git, or `unknown`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// As many characters of a hash as git shows in a large repository.
const HASH_CHARS: usize = 12;
const CHARS_MAX: usize = 64;

fn main() {
    println!("cargo::rerun-if-env-changed=OUTBOX_REVISION");
    // Without this line every changed file of the package would run it again; without a file of that name it would always run.
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let found = given().or_else(|| packaged(&folder)).or_else(|| committed(&folder));
    println!("cargo::rustc-env=OUTBOX_REVISION={}", found.as_deref().unwrap_or("unknown"));
}

/// For builds without git, as in a container.
fn given() -> Option<String> {
    let given = std::env::var("OUTBOX_REVISION").ok().filter(|given| !given.is_empty())?;
    if is_revision(&given) {
        return Some(given);
    }
    println!(
        "cargo::warning=OUTBOX_REVISION is not used: it is not 1 to {CHARS_MAX} letters, digits, `.`, `_` and `-`"
    );
    None
}

/// `cargo package` writes the hash beside the manifest. Only this one text is needed, so no reader of JSON is.
fn packaged(folder: &Path) -> Option<String> {
    let info = std::fs::read_to_string(folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    let hash: String = rest.split('"').nth(1)?.chars().take(HASH_CHARS).collect();
    is_revision(&hash).then_some(hash)
}

fn committed(folder: &Path) -> Option<String> {
    // A copy inside another repository has that repository's hash.
    let root = PathBuf::from(git(folder, &["rev-parse", "--show-toplevel"])?);
    if root.canonicalize().ok()? != folder.join("../..").canonicalize().ok()? {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        let path = folder.join(git(folder, &["rev-parse", "--git-path", file])?);
        if path.is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let hash = git(folder, &["rev-parse", &format!("--short={HASH_CHARS}"), "HEAD"])?;
    is_revision(&hash).then_some(hash)
}

fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).current_dir(folder).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

fn is_revision(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=CHARS_MAX).contains(&text.len()) && text.chars().all(is_plain)
}
