//! A throwaway Postgres. It listens on loopback only, and ends with this process, even after `kill -9`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::dev_file;
use crate::stopped::Stopped;

/// The minder's standard input closes when this process ends, in any way. Then the minder stops the server and removes the
/// directory. Without a reader of its output it still gets there.
const MINDER: &str = r#"
trap '' PIPE
bin=$1 dir=$2 port=$3
cd /
fail() { cat "$@"; rm -rf "$dir"; exit 1; }
"$bin/initdb" --no-sync -A trust -U outbox -E UTF8 --locale=C -D "$dir/data" >"$dir/initdb.log" 2>&1 || fail "$dir/initdb.log"
cat >>"$dir/data/postgresql.conf" <<END
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
END
"$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >"$dir/start.log" 2>&1 || fail "$dir/start.log" "$dir/log"
echo ready 2>/dev/null
exec >/dev/null 2>&1
cat
"$bin/pg_ctl" -D "$dir/data" -m immediate stop
rm -rf "$dir"
"#;
/// Below the ports that systems give to clients.
const PORTS: std::ops::Range<u64> = 20_000..32_000;
const NO_SERVER: &str = "install one (Debian, Ubuntu: apt install postgresql; macOS: brew install postgresql@18), or set \
     DATABASE_URL to a database of your own";

#[derive(Debug)]
pub(super) struct Server {
    minder: Child,
    port: u16,
    /// The minder removes it first.
    _dir: TempDir,
}

impl Server {
    /// Makes a new database. In one folder it has the same port each time, if that is free.
    pub(super) fn start(folder: &Path) -> Result<Self, Stopped> {
        let failed = |error: std::io::Error| {
            Stopped::unreachable(format!("failed to start a throwaway Postgres: {error}"), NO_SERVER)
        };
        let bin = programs().ok_or_else(|| {
            Stopped::unusable("no database is given, and no Postgres server is installed", NO_SERVER)
        })?;
        let port = free_port(folder).map_err(failed)?;
        let dir = tempfile::Builder::new().prefix("outbox-dev-").tempdir().map_err(failed)?;
        let mut command = as_server_user(dir.path())?;
        command.arg("-c").arg(MINDER).arg("outbox-dev-postgres").arg(&bin).arg(dir.path());
        // In a process group of its own, because Ctrl-C must end the worker first.
        command
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut minder = command.spawn().map_err(failed)?;
        let said = until_ready(&mut minder);
        let server = Self { minder, port, _dir: dir };
        match said.map_err(failed)? {
            None => Ok(server),
            Some(said) => Err(Stopped::unreachable(
                format!("failed to start a throwaway Postgres of {}: {said}", bin.display()),
                "see the text of Postgres, or set DATABASE_URL to a database of your own",
            )),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://outbox@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.minder.stdin.take());
        let _ = self.minder.wait();
    }
}

/// `None` once the server is ready; otherwise what it said.
fn until_ready(minder: &mut Child) -> std::io::Result<Option<String>> {
    let mut said = String::new();
    let Some(out) = minder.stdout.take() else { return Ok(Some(said)) };
    let mut out = BufReader::new(out);
    loop {
        let before = said.len();
        if out.read_line(&mut said)? == 0 {
            return Ok(Some(said));
        }
        if said[before..].trim() == "ready" {
            return Ok(None);
        }
    }
}

fn free_port(folder: &Path) -> std::io::Result<u16> {
    let wanted = PORTS.start + dev_file::hash(folder) % (PORTS.end - PORTS.start);
    let wanted = u16::try_from(wanted).unwrap_or_default();
    let listener = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    Ok(listener.local_addr()?.port())
}

/// Where the programs of a Postgres server are: on PATH, where systems install them, or where `pg_config` says.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path);
    let installed = [
        ("/usr/lib/postgresql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/usr", "bin"),
    ];
    let installed = installed.into_iter().flat_map(|(parent, bin)| {
        let names = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        newest_first(names).into_iter().map(move |name| Path::new(parent).join(name).join(bin))
    });
    let is_server =
        |bin: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|program| bin.join(program).is_file());
    path.chain(installed).find(is_server).or_else(|| said_by_pg_config().filter(is_server))
}

fn said_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The names of directories that belong to a version of Postgres, as Debian (`18`), Homebrew (`postgresql@18`) and Red Hat
/// (`pgsql-18`) write them.
fn newest_first(names: Vec<String>) -> Vec<String> {
    let version = |name: &str| {
        let version = ["postgresql@", "pgsql-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        version.unwrap_or(name).parse::<u32>().ok()
    };
    let mut found: Vec<(u32, String)> =
        names.into_iter().filter_map(|name| Some((version(&name)?, name))).collect();
    found.sort();
    found.into_iter().rev().map(|(_, name)| name).collect()
}

/// A shell as a user that may run Postgres, which refuses to run as root. That user gets the directory.
fn as_server_user(dir: &Path) -> Result<Command, Stopped> {
    if dev_file::user() != Some(0) {
        return Ok(Command::new("sh"));
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let refused = || {
        Stopped::unusable(
            "Postgres refuses to run as root, and no other user could be used",
            "run `outbox dev` as another user, or set DATABASE_URL",
        )
    };
    let (user, group) = server_user(&users).ok_or_else(refused)?;
    let owned = Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(dir).status();
    if !owned.is_ok_and(|owned| owned.success()) {
        return Err(refused());
    }
    // Not su: it stays between as a process, and would get the signals instead of the shell.
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg("sh");
    Ok(command)
}

/// User and group of `postgres`, or else of another user without rights, in the text of /etc/passwd.
fn server_user(users: &str) -> Option<(u32, u32)> {
    let of = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
    };
    ["postgres", "nobody", "daemon"].into_iter().find_map(of).filter(|(user, _)| *user != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the newest server is used, however the system names its directory.
    #[test]
    fn the_newest_server_comes_first() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (given, expected) in [
            (names(&["9", "15", "18", "lib"]), names(&["18", "15", "9"])),
            (names(&["postgresql@14", "redis", "postgresql@17"]), names(&["postgresql@17", "postgresql@14"])),
            (names(&["bin", "pgsql-16", "share"]), names(&["pgsql-16"])),
            (names(&[]), names(&[])),
        ] {
            assert_eq!(newest_first(given), expected);
        }
    }

    /// Guards: as root the server runs as a user without rights.
    #[test]
    fn root_is_never_the_server_user() {
        let root = "root:x:0:0:root:/root:/bin/sh\n";
        let nobody = "nobody:x:65534:65534::/:/usr/sbin/nologin\n";
        let postgres = "postgres:x:105:110:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        for (users, expected) in [
            (format!("{root}{nobody}{postgres}"), Some((105, 110))),
            (format!("{root}{nobody}"), Some((65534, 65534))),
            (root.to_owned(), None),
            ("nobody:x:0:0::/:\n".to_owned(), None),
            ("postgresql:x:7:7::/:\n".to_owned(), None),
        ] {
            assert_eq!(server_user(&users), expected, "{users}");
        }
    }

    /// Guards: a folder has one port, among those that no client gets.
    #[test]
    fn a_folder_keeps_its_port() {
        let wanted =
            |folder: &str| PORTS.start + dev_file::hash(Path::new(folder)) % (PORTS.end - PORTS.start);
        assert!(PORTS.contains(&wanted("/home/me/cards")));
        assert_ne!(wanted("/home/me/cards"), wanted("/home/me/ledger"));
        assert_ne!(free_port(Path::new("/home/me/cards")).unwrap(), 0);
    }
}
