//! The reader's folder: outside of the repository, with what a release has on the path and beside it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{process, terraform, tools};
use tokio::process::Command;

use super::page::File;
use crate::release::{Release, run, unpack};

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
    /// `shop`, and beside it the archive of a release. Until a page has unpacked it as `outbox`, nothing is on the path.
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("guide-").tempdir().unwrap();
        for sub in ["shop/.cargo", "tmp", "run"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let archive = Release::get().file(".tar.gz");
        symlink(&archive, dir.path().join(archive.file_name().unwrap())).unwrap();
        std::fs::write(dir.path().join("shop/.cargo/config.toml"), packages()).unwrap();
        // As root Postgres runs as another user, who enters the folder and makes its own in `tmp`.
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(dir.path(), 0o755);
        allow(&dir.path().join("tmp"), 0o1777);
        let env = environment(dir.path());
        Self { dir, env }
    }

    /// What the first page does with the archive. The programs of the Debian package are the first ones on the path.
    pub(super) fn install(&mut self) {
        let release = Release::get();
        unpack(&release.file(".tar.gz"), 1, &self.dir.path().join("outbox"));
        let debian = self.dir.path().join("debian");
        run(std::process::Command::new("dpkg-deb").arg("--extract").arg(release.file(".deb")).arg(&debian));
        let (_, path) = self.env.iter_mut().find(|(name, _)| *name == "PATH").unwrap();
        *path = first_on(debian.join("usr/bin"), path);
    }

    pub(super) fn write(&self, file: &File, text: &str) {
        let path = self.shop().join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = if file.is_added { std::fs::read_to_string(&path).unwrap() } else { String::new() };
        std::fs::write(path, before + text).unwrap();
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

/// For cargo, which takes the packages of the release as if they were published. They are in the same place each time, so that they
/// are compiled once.
fn packages() -> String {
    static PACKAGES: OnceLock<String> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| {
        let mut config = "[patch.crates-io]\n".to_owned();
        let into = target().join("packages");
        for package in Release::get().packages() {
            let folder = package.file_stem().unwrap().to_str().unwrap();
            refresh(&package, &into, folder);
            let (name, _) = folder.rsplit_once('-').unwrap();
            writeln!(config, "{name} = {{ path = {:?} }}", into.join(folder)).unwrap();
        }
        config
    });
    packages.clone()
}

/// Unpacks a package that is not the one unpacked before. Files in a package are dated 2006, and cargo compiles what is new.
fn refresh(package: &Path, into: &Path, folder: &str) {
    let former = into.join(format!("{folder}.former"));
    if std::fs::read(&former).is_ok_and(|former| former == std::fs::read(package).unwrap()) {
        return;
    }
    let _ = std::fs::remove_dir_all(into.join(folder));
    unpack(package, 0, into);
    run(std::process::Command::new("find")
        .arg(into.join(folder))
        .args(["-type", "f", "-exec", "touch", "{}", "+"]));
    std::fs::copy(package, former).unwrap();
}

fn first_on(folder: PathBuf, path: &OsStr) -> OsString {
    std::env::join_paths([folder].into_iter().chain(std::env::split_paths(path))).unwrap()
}

/// What the reader's machine has, and where compilers and servers put what they make.
fn environment(dir: &Path) -> Vec<(&'static str, OsString)> {
    let postgres = tools::postgres_bin().unwrap_or_else(|error| panic!("{error}"));
    let path = first_on(postgres, &std::env::var_os("PATH").unwrap_or_default());
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
    let packages = packages.into_iter().flatten().chain([dir.join("outbox/clients/python/src")]);
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
