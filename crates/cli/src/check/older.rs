//! An older version of the same files: a directory, or a git revision.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outbox_contract::{Contract, ReadError, Selection, Sources};
use outbox_event_router::{Router, Rpc};
use tempfile::TempDir;

use crate::stopped::Stopped;

/// The version under which events in flight were published.
#[derive(Debug)]
pub(crate) struct Older {
    pub(crate) name: String,
    pub(crate) contract: Contract,
    pub(crate) router: OldRouter,
}

#[derive(Debug)]
pub(crate) enum OldRouter {
    Known(Router),
    /// The revision has no file of that name.
    Gone,
    /// A directory of proto files was given without its router.
    NotAsked,
}

impl Older {
    pub(crate) fn read(
        against: &str,
        sources: &Sources,
        router: &Path,
        against_router: Option<&Path>,
    ) -> Result<Self, Stopped> {
        let router_text = against_router.map(read_text).transpose()?;
        let old_router = router_text.map_or(OldRouter::NotAsked, |text| known(against, &text));
        let directory = Sources {
            protos: vec![against.into()],
            includes: sources.includes.clone(),
            events: old_router.selection(sources),
        };
        match directory.read() {
            Ok(contract) => {
                let router = old_router;
                return Ok(Self { name: against.to_owned(), contract, router });
            }
            // A branch may have the name of an unrelated directory.
            Err(ReadError::Io { .. } | ReadError::Empty(_) | ReadError::NotDescriptors { .. }) => {}
            Err(error) => return Err(unreadable(against, error)),
        }
        let mut checkout = Checkout::of(against, sources)?;
        let router = match old_router {
            OldRouter::NotAsked => {
                checkout.router(router).map_or(OldRouter::Gone, |text| known(against, &text))
            }
            given => given,
        };
        checkout.sources.events = router.selection(sources);
        let contract = checkout.sources.read().map_err(|error| unreadable(against, error))?;
        Ok(Self { name: against.to_owned(), contract, router })
    }
}

impl OldRouter {
    /// The packages that this router named, as far as it is known.
    fn selection(&self, sources: &Sources) -> Selection {
        match self {
            Self::Known(router) => sources.events.with(router.packages()),
            Self::Gone | Self::NotAsked => sources.events.clone(),
        }
    }

    /// Whether a queue of this name is known to exist.
    pub(crate) fn has(&self, queue: &Rpc) -> bool {
        matches!(self, Self::Known(router) if router.rpcs().any(|(rpc, _)| rpc == queue))
    }

    /// The RPC that was called for a queue.
    pub(crate) fn called<'a>(&'a self, queue: &'a Rpc) -> &'a Rpc {
        match self {
            Self::Known(router) => router.called(queue),
            Self::Gone | Self::NotAsked => queue,
        }
    }
}

/// Mistakes in an older version don't matter: the readable part is compared.
fn known(name: &str, router: &str) -> OldRouter {
    OldRouter::Known(Router::examine(name, router).0)
}

fn unreadable(name: &str, error: ReadError) -> Stopped {
    let problem = match error {
        // Its paths are those of temporary copies.
        ReadError::Findings(report) => {
            report.findings().first().map_or(String::new(), |finding| finding.message.clone())
        }
        ReadError::Empty(_) => "there are none".to_owned(),
        other => other.to_string(),
    };
    Stopped::unusable(
        format!("the proto files of {name} can't be read: {problem}"),
        "compare with a revision whose proto files compile",
    )
}

fn read_text(file: &Path) -> Result<String, Stopped> {
    std::fs::read_to_string(file).map_err(|error| {
        Stopped::unusable(format!("failed to read {}: {error}", file.display()), "pass --against-router FILE")
    })
}

/// The files of a revision, in a temporary directory.
struct Checkout {
    revision: String,
    sources: Sources,
    dir: TempDir,
}

impl Checkout {
    fn of(revision: &str, sources: &Sources) -> Result<Self, Stopped> {
        let dir = tempfile::tempdir().map_err(|error| {
            Stopped::unusable(format!("failed to make a directory: {error}"), "see that TMPDIR is writable")
        })?;
        let mut checkout = Self { revision: revision.to_owned(), sources: Sources::default(), dir };
        for (n, root) in sources.protos.iter().enumerate() {
            if let Some(copy) = checkout.copy(root, &format!("proto{n}"))? {
                checkout.sources.protos.push(copy);
            }
        }
        if checkout.sources.protos.is_empty() {
            let roots: Vec<String> = sources.protos.iter().map(|root| root.display().to_string()).collect();
            return Err(Stopped::unusable(
                format!("--against {revision}: it has no .proto files below {}", roots.join(", ")),
                "pass a revision that has, or a directory of older .proto files",
            ));
        }
        for (n, root) in sources.includes.iter().enumerate() {
            // A directory outside the repository is used as it is.
            let copy = checkout.copy(root, &format!("include{n}")).ok().flatten();
            checkout.sources.includes.push(copy.unwrap_or_else(|| root.clone()));
        }
        Ok(checkout)
    }

    /// A copy of a directory, or of one descriptor set; `None` if the revision does not have it.
    fn copy(&self, root: &Path, name: &str) -> Result<Option<PathBuf>, Stopped> {
        let (dir, what) = if root.is_file() { split(root) } else { (root, ".".into()) };
        let commit = self.commit(dir)?;
        let copy = self.dir.path().join(name);
        if !self.extract(dir, &commit, &what, &copy)? {
            return Ok(None);
        }
        let copied = if root.is_file() { copy.join(what) } else { copy };
        Ok(copied.exists().then_some(copied))
    }

    /// The revision's event_router.yaml; `None` if it does not have one.
    fn router(&self, path: &Path) -> Option<String> {
        let (dir, name) = split(path);
        let copy = self.dir.path().join("router");
        let commit = self.commit(dir).ok()?;
        self.extract(dir, &commit, &name, &copy).ok()?;
        std::fs::read_to_string(copy.join(name)).ok()
    }

    /// The commit in the repository of this directory, which may be another one than the current one.
    fn commit(&self, dir: &Path) -> Result<String, Stopped> {
        let wanted = format!("{}^{{commit}}", self.revision);
        let unknown = |said: &str| {
            Stopped::unusable(
                format!(
                    "--against {}: there is no such directory of .proto files, and git finds no such revision{said}",
                    self.revision
                ),
                "pass a directory of older .proto files, or fetch the revision (a CI checkout may be shallow: fetch-depth: 0)",
            )
        };
        let output = git(dir)
            .args(["rev-parse", "--verify", "--end-of-options", &wanted])
            .output()
            .map_err(|error| unknown(&format!(" ({error})")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        Err(unknown(&if said.is_empty() { String::new() } else { format!(" ({said})") }))
    }

    /// Uses one process for all files, and keeps links. False if there was nothing.
    fn extract(&self, dir: &Path, commit: &str, what: &str, copy: &Path) -> Result<bool, Stopped> {
        let failed = |error: std::io::Error| {
            Stopped::unusable(
                format!("failed to copy the files of {}: {error}", self.revision),
                "see that git and tar are installed, and TMPDIR is writable",
            )
        };
        std::fs::create_dir_all(copy).map_err(failed)?;
        let mut archive = git(dir)
            .args(["archive", "--format=tar", commit, "--", what])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let tar = archive.stdout.take().expect("it is piped");
        let extracted = Command::new("tar")
            .arg("-x")
            .arg("-C")
            .arg(copy)
            .stdin(tar)
            .stderr(Stdio::null())
            .status()
            .map_err(failed)?;
        let archived = archive.wait().map_err(failed)?;
        Ok(archived.success() && extracted.success())
    }
}

/// A hook of git sets variables that would direct git elsewhere.
fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(variable);
    }
    git
}

fn split(path: &Path) -> (&Path, String) {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (dir, path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}
