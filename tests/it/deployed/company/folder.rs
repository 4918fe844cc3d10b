//! The company's repository in a temporary folder, and how its commands run there.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use testkit::process::{self, Process};
use testkit::tools::{self, ToolError};
use tokio::process::Command;

use crate::world::programs;

/// A compiler on a busy machine needs minutes. Nothing is asserted on it.
const ENDS_WITHIN: Duration = Duration::from_secs(900);

/// What the company has installed beside Rust.
pub(super) struct Tools {
    pub(super) node_modules: PathBuf,
    psycopg: PathBuf,
}

impl Tools {
    /// `None`, reported loudly, if a tool can't be installed; in CI that is a failure.
    pub(super) fn installed() -> Option<Self> {
        let installed = || -> Result<Self, ToolError> {
            tools::debian("git", "git")?;
            Ok(Self { node_modules: tools::node_company()?, psycopg: tools::python_psycopg()? })
        };
        // Not eprintln: the output of a passing test is not shown.
        let told = |error| {
            let _ = writeln!(
                std::io::stderr(),
                "\n!!! NOT TESTED: a company outside of the repository, because {error}\n"
            );
        };
        let made = installed().map_err(told).ok();
        assert!(
            made.is_some() || std::env::var_os("CI").is_none(),
            "in CI an outside company must be tested"
        );
        made
    }
}

/// Exit code and output of a command.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// The company's repository.
pub(super) struct Company {
    dir: TempDir,
    pub(super) tools: Tools,
}

impl Company {
    /// The first version, not committed yet.
    pub(super) fn new(tools: Tools) -> Self {
        let dir = tempfile::Builder::new().prefix("acme-").tempdir().unwrap();
        let company = Self { dir, tools };
        let first = |name: &str| !matches!(name, "next" | "Cargo.lock" | "target");
        process::copy_dir(&files(), &company.path("repo"), &first).unwrap();
        // As root Postgres runs as another user, who enters the folder and makes its own in `tmp`.
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for sub in ["tmp", "run"] {
            std::fs::create_dir(company.path(sub)).unwrap();
        }
        allow(company.dir.path(), 0o755);
        allow(&company.path("tmp"), 0o1777);
        std::os::unix::fs::symlink(&company.tools.node_modules, company.file("ts/node_modules")).unwrap();
        company
    }

    /// Adds the files of the second version.
    pub(super) fn add_the_second_version(&self) {
        process::copy_dir(&files().join("next"), &self.path("repo"), &|_| true).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the repository.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path("repo").join(name)
    }

    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let before = std::fs::read_to_string(self.file(name)).unwrap();
        let after = change(&before);
        assert_ne!(after, before, "{name} is not changed");
        std::fs::write(self.file(name), after).unwrap();
    }

    /// Runs a command line in the repository, as in a shell.
    pub(super) async fn run(&self, env: &[(&str, &str)], line: &str) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.path("repo")).env_clear().envs(machine_env());
        command.envs(self.own_env()).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(ENDS_WITHIN, command.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("`{line}` does not end")).unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            err: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }

    /// The output of a command that must succeed.
    pub(super) async fn done(&self, env: &[(&str, &str)], line: &str) -> String {
        let ran = self.run(env, line).await;
        assert_eq!(ran.code, 0, "`{line}` failed:\n{}\n{}", ran.out, ran.err);
        ran.out
    }

    /// Starts a program that goes on.
    pub(super) fn start(&self, env: &[(&str, &str)], line: &str) -> Process {
        let line = format!("cd {} && exec {line}", self.path("repo").display());
        let own = self.own_env().map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        // The services of other tests have no package; these do.
        let env: Vec<(&str, &str)> =
            own.chain([("OUTBOX_FULL_NAMES", "false")]).chain(env.iter().copied()).collect();
        Process::start(&PathBuf::from("sh"), ["-c", &line], &env)
            .unwrap_or_else(|error| panic!("`{line}` does not start: {error}"))
    }

    /// The built programs and the installed tools are on the path.
    fn own_env(&self) -> [(&'static str, OsString); 4] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let before = [programs().clone(), self.tools.node_modules.join(".bin")];
        let path = std::env::join_paths(before.into_iter().chain(std::env::split_paths(&path))).unwrap();
        [
            ("PATH", path),
            ("PYTHONPATH", self.tools.psycopg.clone().into()),
            ("TMPDIR", self.path("tmp").into()),
            ("XDG_RUNTIME_DIR", self.path("run").into()),
        ]
    }
}

/// The machine's environment without what concerns this repository.
fn machine_env() -> impl Iterator<Item = (OsString, OsString)> {
    const HERE: [&str; 5] = ["OUTBOX_", "DATABASE_URL", "GIT_", "PG", "RUSTFLAGS"];
    std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !HERE.iter().any(|begins| name.starts_with(begins))
    })
}

/// The company's files, as they are in this repository.
fn files() -> PathBuf {
    process::root().join("tests/company")
}
