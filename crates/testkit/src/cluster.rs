//! A throwaway Postgres. It lives in a temporary directory, listens on loopback only, and ends with the process that started
//! it, even after `kill -9`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::tools::{self, ToolError};

/// The minder's standard input closes when the process that started it ends, in any way. Then the minder stops the server
/// and removes the directory.
const MINDER: &str = r#"
set -eu
bin=$1 dir=$2 port=$3 settings=$4
cd /
"$bin/initdb" --no-sync -A trust -U outbox -E UTF8 --locale=C -D "$dir/data" >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; exit 1; }
cat >>"$dir/data/postgresql.conf" <<END
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 300
shared_buffers = 256MB
max_wal_size = 1GB
$settings
END
"$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >"$dir/start.log" 2>&1 || { cat "$dir/start.log" "$dir/log"; exit 1; }
echo ready
exec >/dev/null 2>&1
cat
"$bin/pg_ctl" -D "$dir/data" -m immediate stop || true
rm -rf "$dir"
"#;

#[derive(Debug)]
pub struct Cluster {
    minder: Child,
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("failed to start a throwaway Postgres")]
    Io(#[from] std::io::Error),
    #[error("failed to start a throwaway Postgres: {0}")]
    Server(String),
}

impl Cluster {
    /// Makes and starts a new cluster.
    pub fn start() -> Result<Self, ClusterError> {
        Self::tuned(&[])
    }

    /// With more settings in `postgresql.conf`.
    pub fn tuned(settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let bin = tools::postgres_bin()?;
        Self::start_in(new_dir()?, bin, settings)
    }

    /// With another server than the machine's: a directory with its `bin`, `lib` and `share`. They are copied, because the
    /// user that runs Postgres may not be allowed to enter that directory.
    pub fn of(server: &Path, settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let dir = new_dir()?;
        let copy = dir.join("server");
        let copied = Command::new("cp").arg("-a").arg(server).arg(&copy).status()?;
        if !copied.success() {
            return Err(ClusterError::Server(format!("failed to copy {}", server.display())));
        }
        Self::start_in(dir, copy.join("bin"), settings)
    }

    fn start_in(dir: PathBuf, bin: PathBuf, settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if tools::is_root() {
            // Postgres refuses to run as root.
            let owned = Command::new("chown").arg("-R").arg(owner()).arg(&dir).status()?;
            if !owned.success() {
                return Err(ClusterError::Server(format!(
                    "failed to give {} to user {}",
                    dir.display(),
                    owner()
                )));
            }
        }
        let settings: String = settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        let mut command = as_owner("sh");
        command.arg("-c").arg(MINDER).arg("postgres-minder").arg(&bin).arg(&dir);
        command.arg(port.to_string()).arg(settings);
        // In a process group of its own, because Ctrl-C must not stop the server under the demo.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut minder = command.spawn()?;
        let mut said = String::new();
        let mut out = BufReader::new(minder.stdout.take().expect("piped"));
        loop {
            let before = said.len();
            if out.read_line(&mut said)? == 0 {
                let _ = minder.wait();
                return Err(ClusterError::Server(said));
            }
            if said[before..].trim() == "ready" {
                return Ok(Self { minder, bin, dir, port });
            }
        }
    }

    /// The address of a database, which need not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://outbox@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the server's socket and log are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops the server as an upgrade does: sessions are ended, and everything is written.
    pub fn shut_down(&self) -> std::io::Result<()> {
        self.pg_ctl(&["-m", "fast", "-w", "stop"], &[])
    }

    /// Stops the server as a power cut would.
    pub fn crash(&self) -> std::io::Result<()> {
        self.pg_ctl(&["-m", "immediate", "stop"], &[])
    }

    /// Starts the server again after [`crash`](Cluster::crash) or [`shut_down`](Cluster::shut_down), with more environment
    /// variables.
    pub fn restart(&self, env: &[(String, String)]) -> std::io::Result<()> {
        let log = self.dir.join("log").display().to_string();
        self.pg_ctl(&["-l", &log, "-w", "start"], env)
    }

    fn pg_ctl(&self, args: &[&str], env: &[(String, String)]) -> std::io::Result<()> {
        // For the server alone: files that a library makes as root could not be removed by the server's user.
        let status = as_owner("env")
            .args(env.iter().map(|(name, value)| format!("{name}={value}")))
            .arg(self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(self.dir.join("data"))
            .args(args)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("pg_ctl {args:?}: {status}")))
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.minder.stdin.take());
        let _ = self.minder.wait();
    }
}

fn new_dir() -> std::io::Result<PathBuf> {
    let name = format!("outbox-postgres-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir(&dir)?;
    Ok(dir)
}

/// Runs a program as a user that may run Postgres: this one, or another one if this is root.
pub fn as_owner(program: &str) -> Command {
    if tools::is_root() {
        // Not runuser or su: these stay between as a process, and a kill would hit them instead of the program.
        let mut command = Command::new("setpriv");
        command.args(["--reuid", owner(), "--regid", owner(), "--init-groups", program]);
        command
    } else {
        Command::new(program)
    }
}

fn owner() -> &'static str {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "daemon" }
}
