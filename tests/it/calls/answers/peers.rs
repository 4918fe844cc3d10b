//! Servers of other projects, started by the test and ended with it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::process::root;
use testkit::tools::{self, ToolError};

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const SERVERS: &str = "tests/it/calls/answers/servers";

/// A server, killed when it is dropped.
pub(super) struct Peer {
    child: Child,
    /// As it printed them.
    pub(super) ports: Vec<u16>,
    _dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what was installed. Reports loudly what can't be installed; in CI that is a failure.
pub(super) fn or_told<T>(made: Result<T, ToolError>, what: &str) -> Option<T> {
    // Not eprintln: the output of a passing test is not shown.
    let told = |error| {
        let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: the answers of {what}, because {error}\n");
    };
    let made = made.map_err(told).ok();
    assert!(made.is_some() || std::env::var_os("CI").is_none(), "in CI {what} must be tested");
    made
}

/// A server of the official libraries for Node.js.
pub(super) fn node(script: &str) -> Result<Peer, ToolError> {
    let packages = tools::node_rpc()?;
    let dir = tempfile::tempdir().expect("a directory");
    // Node.js looks for modules beside the script.
    let linked = std::os::unix::fs::symlink(packages.join("node_modules"), dir.path().join("node_modules"));
    linked.expect("a link");
    let file = dir.path().join(script);
    std::fs::copy(root().join(SERVERS).join(script), &file).expect("the script is there");
    let mut node = Command::new("node");
    node.arg(file);
    Ok(Peer::start(node, dir))
}

/// A server of the official library for Python.
pub(super) fn python() -> Result<Peer, ToolError> {
    let packages = tools::python_grpc()?;
    let mut python = Command::new("python3");
    python.arg(root().join(SERVERS).join("grpc_server.py")).env("PYTHONPATH", packages);
    Ok(Peer::start(python, tempfile::tempdir().expect("a directory")))
}

impl Peer {
    /// Waits for the line with its ports.
    fn start(mut command: Command, dir: tempfile::TempDir) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is there");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints a line");
        let ports = line.split_whitespace().map(|port| port.parse().expect("a port")).collect();
        Self { child, ports, _dir: dir }
    }
}

/// Starts a proxy before the other servers. Its configuration refers to `ports`; the ports that it listens on are added.
pub(super) fn nginx(ports: &mut HashMap<&'static str, u16>) -> Result<Peer, ToolError> {
    let nginx = tools::nginx()?;
    let dir = tempfile::tempdir().expect("a directory");
    certificate(dir.path());
    // The listeners are held until nginx takes their ports, so that no port is used twice.
    let free: Vec<_> = ["http1", "http2", "tls", "nobody"].map(|name| (name, free())).into();
    ports.extend(free.iter().map(|(name, listener)| (*name, port(listener))));
    let conf = configured(ports, dir.path());
    drop(free);
    let mut command = Command::new(nginx);
    command.arg("-p").arg(dir.path()).arg("-c").arg(conf).args(["-e", "stderr"]);
    let child = command.stdin(Stdio::null()).spawn().expect("the program is there");
    let peer = Peer { child, ports: Vec::new(), _dir: dir };
    let until = Instant::now() + STARTS_WITHIN;
    while TcpStream::connect(("127.0.0.1", ports["tls"])).is_err() {
        assert!(Instant::now() < until, "nginx does not start: see above");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(peer)
}

fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("it is bound").port()
}

fn configured(ports: &HashMap<&'static str, u16>, dir: &Path) -> PathBuf {
    let template = std::fs::read_to_string(root().join(SERVERS).join("nginx.conf")).expect("it is there");
    let named = ports
        .iter()
        .fold(template, |conf, (name, port)| conf.replace(&format!("{{{name}}}"), &port.to_string()));
    let conf = dir.join("nginx.conf");
    std::fs::write(&conf, named.replace("{dir}", &dir.display().to_string())).expect("it can be written");
    conf
}

fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("it can be written");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("it can be written");
}
