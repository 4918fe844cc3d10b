//! An older version of the same files: a directory, or a git revision.

use std::path::{Path, PathBuf};
use std::process::Command;

use contract::{Contract, ReadError, Sources};
use event_router::Router;
use tempfile::TempDir;

use crate::Unusable;

/// What events in flight were published under.
#[derive(Debug)]
pub(crate) struct Older {
    /// As the user called it.
    pub(crate) name: String,
    pub(crate) contract: Contract,
    /// Not known for a directory without `--against-router`.
    pub(crate) router: Option<Router>,
}

impl Older {
    pub(crate) fn read(
        against: &str,
        sources: &Sources,
        router: &Path,
        against_router: Option<&Path>,
    ) -> Result<Self, Unusable> {
        if Path::new(against).exists() {
            let older = Sources { protos: vec![against.into()], includes: sources.includes.clone() };
            let router = against_router.map(read_text).transpose()?;
            return Self::of(against, &older, router.as_deref());
        }
        let checkout = Checkout::of(against, sources)?;
        let router = match against_router {
            Some(file) => Some(read_text(file)?),
            None => checkout.file(router),
        };
        Self::of(against, &checkout.sources, router.as_deref())
    }

    fn of(name: &str, sources: &Sources, router: Option<&str>) -> Result<Self, Unusable> {
        let contract = sources.read().map_err(|error| {
            let problem = match error {
                // Its paths are those of copies that nobody can look at.
                ReadError::Findings(report) => {
                    report.findings().first().map_or(String::new(), |finding| finding.message.clone())
                }
                ReadError::Empty(_) => "there are none".to_owned(),
                other => other.to_string(),
            };
            Unusable::new(
                format!("the proto files of {name} can't be read: {problem}"),
                "compare with a revision whose proto files compile",
            )
        })?;
        // Mistakes of the past are nobody's concern: what can be understood of it is compared.
        let router = router.map(|text| Router::examine(name, text).0);
        Ok(Self { name: name.to_owned(), contract, router })
    }
}

fn read_text(file: &Path) -> Result<String, Unusable> {
    std::fs::read_to_string(file).map_err(|error| {
        Unusable::new(format!("failed to read {}: {error}", file.display()), "pass --against-router FILE")
    })
}

/// The proto files of a revision, in a directory that goes away.
struct Checkout {
    revision: String,
    sources: Sources,
    _dir: TempDir,
}

impl Checkout {
    fn of(revision: &str, sources: &Sources) -> Result<Self, Unusable> {
        let commit = format!("{revision}^{{commit}}");
        if git(Path::new("."), &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).is_none() {
            return Err(Unusable::new(
                format!("--against {revision}: there is no such directory, and no such git revision here"),
                "pass a directory of older .proto files, or fetch the revision (a CI checkout may be shallow: fetch-depth: 0)",
            ));
        }
        let failed = |error: std::io::Error| {
            Unusable::new(
                format!("failed to copy the files of {revision}: {error}"),
                "see that TMPDIR is writable",
            )
        };
        let dir = tempfile::tempdir().map_err(failed)?;
        let mut copied = Sources::default();
        let roots = sources.protos.iter().map(|root| (root, true));
        for (n, (root, is_proto)) in
            roots.chain(sources.includes.iter().map(|root| (root, false))).enumerate()
        {
            let copy = dir.path().join(n.to_string());
            copy_revision(revision, root, &copy).map_err(failed)?;
            if is_proto { copied.protos.push(copy) } else { copied.includes.push(copy) }
        }
        Ok(Self { revision: revision.to_owned(), sources: copied, _dir: dir })
    }

    /// A file as it was; `None` if it was not there.
    fn file(&self, path: &Path) -> Option<String> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name()?.to_str()?;
        String::from_utf8(git(dir, &["show", &format!("{}:./{name}", self.revision)])?).ok()
    }
}

fn copy_revision(revision: &str, root: &Path, copy: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(copy)?;
    let listed = git(root, &["ls-tree", "-r", "-z", "--name-only", revision, "."]).unwrap_or_default();
    let names = listed.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    for name in names.filter(|name| name.ends_with(".proto")) {
        let Some(bytes) = git(root, &["show", &format!("{revision}:./{name}")]) else { continue };
        let to: PathBuf = copy.join(name);
        std::fs::create_dir_all(to.parent().unwrap_or(copy))?;
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

/// What git prints; `None` if it fails, or is not installed.
fn git(dir: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().ok()?;
    output.status.success().then_some(output.stdout)
}
