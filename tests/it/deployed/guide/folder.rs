//! The reader's folder: outside of the repository, with the built programs on the path.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{process, terraform, tools};
use tokio::process::Command;

use super::page::File;
use crate::world::programs;

/// A compiler on a busy machine needs minutes. Nothing is asserted on it.
const ENDS_WITHIN: Duration = Duration::from_secs(900);

pub(super) struct Folder {
    dir: TempDir,
    env: Vec<(&'static str, OsString)>,
}

/// What a command said on both streams, and how it ended.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) code: i32,
}

impl Folder {
    /// `shop`, and beside it this repository, as `outbox`.
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("guide-").tempdir().unwrap();
        for sub in ["shop", "tmp", "run"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        symlink(process::root().canonicalize().unwrap(), dir.path().join("outbox")).unwrap();
        // As root Postgres runs as another user, who enters the folder and makes its own in `tmp`.
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(dir.path(), 0o755);
        allow(&dir.path().join("tmp"), 0o1777);
        let env = environment(dir.path());
        Self { dir, env }
    }

    pub(super) fn write(&self, file: &File, text: &str) {
        let path = self.shop().join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = if file.is_added { std::fs::read_to_string(&path).unwrap() } else { String::new() };
        // The same place each time, so that these crates are compiled once.
        let here = format!("\"{}/", process::root().canonicalize().unwrap().display());
        let text =
            if file.path == "Cargo.toml" { text.replace("\"../outbox/", &here) } else { text.to_owned() };
        std::fs::write(path, before + &text).unwrap();
    }

    /// Runs a command line as one terminal does: what it exports, and the directory it goes to, stay.
    pub(super) async fn run(&self, line: &str) -> Said {
        let state = self.state();
        let script = format!(
            "exec 2>&1\n{}\n{line}\ncode=$?\n{{ export -p; echo \"cd '$PWD'\"; }} >{state}\nexit $code",
            self.resumed()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(self.shop());
        command.env_clear().envs(machine_env()).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(ENDS_WITHIN, command.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("`{line}` does not end")).unwrap();
        Said {
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// A script that becomes the program of a command line, in the directory and with the exports of [`run`](Self::run).
    pub(super) fn becoming(&self, line: &str) -> String {
        format!("cd {} && {{ {}; }} && exec env {line}", self.shop().display(), self.resumed())
    }

    /// For a program that goes on.
    pub(super) fn env(&self) -> Vec<(&str, &str)> {
        let own = self.env.iter().map(|(name, value)| (*name, value.to_str().expect("a path of UTF-8")));
        // The services of other tests have no package; these do.
        [("OUTBOX_FULL_NAMES", "false")].into_iter().chain(own).collect()
    }

    fn resumed(&self) -> String {
        let state = self.state();
        format!("if [ -f {state} ]; then . {state}; fi")
    }

    fn state(&self) -> String {
        self.dir.path().join("state.sh").display().to_string()
    }

    fn shop(&self) -> PathBuf {
        self.dir.path().join("shop")
    }
}

/// What the reader has installed, and where compilers and servers put what they make.
fn environment(dir: &Path) -> Vec<(&'static str, OsString)> {
    let postgres = tools::postgres_bin().unwrap_or_else(|error| panic!("{error}"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let before = [programs().clone(), postgres];
    let path = std::env::join_paths(before.into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut env = vec![
        ("PATH", path),
        ("TMPDIR", dir.join("tmp").into()),
        ("XDG_RUNTIME_DIR", dir.join("run").into()),
        ("CARGO_TARGET_DIR", target().into()),
        ("CARGO_INCREMENTAL", "0".into()),
        ("CARGO_PROFILE_DEV_DEBUG", "false".into()),
        ("CARGO_TERM_COLOR", "never".into()),
        ("CHECKPOINT_DISABLE", "1".into()),
        ("TF_CLI_ARGS", "-no-color".into()),
    ];
    let packages = [tools::python_psycopg(), tools::python_protobuf(), tools::python_protoc()];
    let packages = packages.into_iter().flatten().chain([process::root().join("clients/python/src")]);
    env.push(("PYTHONPATH", std::env::join_paths(packages).unwrap()));
    if let Some(mirror) = terraform::mirror() {
        env.push(("TF_CLI_ARGS_init", format!("-plugin-dir={}", mirror.display()).into()));
    }
    env
}

fn target() -> PathBuf {
    std::path::absolute(process::target().join("guide")).unwrap()
}

/// For cargo the crate of each new folder is another one, so these would add up. What they depend on stays.
pub(super) fn remove_crates_of_former_folders() {
    for kind in ["deps", "build", ".fingerprint"] {
        let dir = target().join("debug").join(kind);
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ["shop-", "libshop-", "orders-"].iter().any(|begins| name.starts_with(begins)) {
                let path = entry.path();
                let _ =
                    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            }
        }
    }
}

/// The machine's environment without what concerns this repository.
fn machine_env() -> impl Iterator<Item = (OsString, OsString)> {
    const HERE: [&str; 7] =
        ["OUTBOX_", "DATABASE_URL", "GIT_", "PG", "RUSTFLAGS", "CARGO_MANIFEST", "TF_CLI_ARGS"];
    std::env::vars_os().filter(|(name, value)| {
        let name = name.to_string_lossy();
        // Terraform warns at length about a named file that does not exist.
        let is_gone = name == "TF_CLI_CONFIG_FILE" && !Path::new(value).exists();
        !is_gone && !HERE.iter().any(|begins| name.starts_with(begins))
    })
}
