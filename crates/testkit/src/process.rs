//! The project's own programs, as processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::sync::mpsc;

/// Builds the programs that demo and tests start. Returns their directory. Without AWS the build takes half the time. The console
/// is always there.
pub fn build(aws: bool) -> std::io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "outbox-bus-relay",
            "--package",
            "outbox-worker",
            "--package",
            "sample",
            "--package",
            "outbox-cli",
            "--bins",
        ])
        .args(if aws { &[][..] } else { &["--no-default-features", "--features", "outbox-cli/console"] })
        .current_dir(root())
        .status()?;
    if !status.success() {
        return Err(std::io::Error::other(format!("cargo build: {status}")));
    }
    Ok(target().join("debug"))
}

/// The directory in which cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Copies a directory, without files and directories whose names are not wanted.
pub fn copy_dir(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !wanted(&name.to_string_lossy()) {
            continue;
        }
        // Crates have links to files of the root.
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to.join(&name), wanted)?;
        } else {
            std::fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// A running program. It is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Starts a program. [`line`](Process::line) returns its output on both streams.
    pub fn start<S: AsRef<OsStr>>(
        program: &PathBuf,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
    ) -> std::io::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut child = AsyncCommand::new(program)
            .args(args)
            .env_clear()
            .envs(std::env::vars_os().filter(|(key, _)| !key.to_string_lossy().starts_with("OUTBOX_")))
            .env_remove("DATABASE_URL")
            // The services of tests have no package.
            .env("OUTBOX_FULL_NAMES", "true")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let (sender, lines) = mpsc::unbounded_channel();
        forward(child.stdout.take().expect("piped"), sender.clone());
        forward(child.stderr.take().expect("piped"), sender);
        Ok(Self { name, child, lines })
    }

    /// The next line of its output; `None` when it has ended.
    pub async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Reads on until a line contains `text`. Returns that line.
    pub async fn wait_for(&mut self, text: &str) -> std::io::Result<String> {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            while let Some(line) = self.line().await {
                if line.contains(text) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        });
        match found.await {
            Ok(Some(line)) => Ok(line),
            _ => Err(std::io::Error::other(format!(
                "{} did not say {text:?}, but:\n{}",
                self.name,
                seen.join("\n")
            ))),
        }
    }

    /// Takes over the rest of its output.
    pub fn take_lines(&mut self) -> mpsc::UnboundedReceiver<String> {
        std::mem::replace(&mut self.lines, mpsc::unbounded_channel().1)
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Sends a signal, by name: TERM, KILL, STOP, CONT.
    pub fn signal(&self, signal: &str) -> std::io::Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().map(|_| ())
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(mut self) -> std::io::Result<ExitStatus> {
        self.signal("TERM")?;
        self.ended().await
    }

    /// Kills the program, as `kill -9` does.
    pub async fn kill(mut self) -> std::io::Result<()> {
        self.child.kill().await
    }

    /// Waits for the end, at most half a minute.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .map_err(|_| std::io::Error::other(format!("{} does not end", self.name)))?
    }
}

fn forward(stream: impl AsyncRead + Unpin + Send + 'static, lines: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            // Reads on without a receiver, so that the program never blocks on a full pipe.
            let _ = lines.send(line);
        }
    });
}
