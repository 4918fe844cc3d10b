//! A console, a browser, and a test that take turns.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use testkit::process::{Process, root, target};
use testkit::tools;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::seen::drills::desk::Drill;
use crate::world::{PATIENCE, programs};

/// What drives the browser.
pub(super) struct Tools {
    chromium: PathBuf,
    packages: PathBuf,
}

impl Tools {
    /// Reports loudly what can't be installed; in CI that is a failure.
    pub(super) fn installed() -> Option<Self> {
        let packages = tools::node_console().map(|dir| dir.join("node_modules"));
        let installed = tools::chromium().and_then(|chromium| Ok(Self { chromium, packages: packages? }));
        // Not eprintln: the output of a passing test is not shown.
        let told = |error| {
            let _ =
                writeln!(std::io::stderr(), "\n!!! NOT TESTED: the console in a browser, because {error}\n");
        };
        let installed = installed.map_err(told).ok();
        let is_in_ci = std::env::var_os("CI").is_some();
        assert!(installed.is_some() || !is_in_ci, "in CI the console must be tested in a browser");
        installed
    }

    /// `node --test` of a file in `tests/console/`.
    pub(super) fn node(&self, file: &str, console: &Console) -> Command {
        let mut node = Command::new("node");
        node.args(["--test", "--test-reporter=spec", file])
            .current_dir(root().join("tests/console"))
            .env("CONSOLE_URL", &console.url)
            .env("CHROMIUM", &self.chromium)
            .env("NODE_PATH", &self.packages)
            .env("SCREENSHOTS", target().join("console"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        node
    }
}

/// Fails with what node said.
#[track_caller]
pub(super) fn assert_passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
}

/// `outbox`, or the one that `CONSOLE_PROGRAM` names: an optimized one, for example.
pub(super) fn program() -> PathBuf {
    std::env::var_os("CONSOLE_PROGRAM").map_or_else(|| programs().join("outbox"), PathBuf::from)
}

/// The process of `outbox console`.
pub(super) struct Console {
    pub(super) process: Process,
    /// With the token that works once.
    pub(super) url: String,
}

impl Console {
    pub(super) async fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let args = ["console", "--addr", "127.0.0.1:0"].iter().chain(args);
        let mut process = Process::start(&program(), args, env).unwrap();
        let said = process.wait_for("the console is at http://").await.unwrap();
        let at = said.find("http://").unwrap();
        Self { process, url: said[at..].trim().to_owned() }
    }

    /// With the role of an operator, as the documentation starts it.
    pub(super) async fn of(drill: &Drill, args: &[&str]) -> Self {
        let router = drill.world.router_file.display().to_string();
        Self::start(args, &drill.env(&router)).await
    }
}

/// A person in the browser. Each side says a line, and waits for the other.
pub(super) struct Journey {
    console: Console,
    node: Child,
    lines: BufReader<TcpStream>,
}

impl Journey {
    /// Starts a journey of `tests/console/journeys.mjs`, with a kind of hands. `None` without a browser.
    pub(super) async fn begin(drill: &Drill, name: &str, hands: &str, args: &[&str]) -> Option<Self> {
        let tools = Tools::installed()?;
        let console = Console::of(drill, args).await;
        let stage = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut node = tools.node("journey.test.mjs", &console);
        node.env("JOURNEY", name).env("HANDS", hands);
        node.env("STAGE", stage.local_addr().unwrap().to_string());
        let mut node = node.spawn().unwrap();
        let connected = tokio::select! {
            connected = stage.accept() => connected.unwrap().0,
            _ = node.wait() => fail(node).await,
        };
        Some(Self { console, node, lines: BufReader::new(connected) })
    }

    /// Waits until the person is at this point. Returns what the page shows there.
    pub(super) async fn until(&mut self, point: &str) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE * 2, self.lines.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return self.failed().await;
        }
        let said: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(said["point"], point);
        said["shown"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn goes_on(&mut self) {
        self.goes_on_with(json!({})).await;
    }

    /// Lets the person go on, who knows this.
    pub(super) async fn goes_on_with(&mut self, known: Value) {
        self.lines.write_all(format!("{known}\n").as_bytes()).await.unwrap();
    }

    /// Waits for the end of the journey.
    pub(super) async fn arrives(self) {
        let ended = tokio::time::timeout(PATIENCE * 3, self.node.wait_with_output()).await;
        assert_passed(&ended.expect("the journey ends").unwrap());
        assert!(self.console.process.stop().await.unwrap().success());
    }

    /// Fails with what node said.
    async fn failed(&mut self) -> String {
        // Its test fails when it finds the connection closed.
        let _ = self.lines.shutdown().await;
        let mut said = String::new();
        let mut out = BufReader::new(self.node.stdout.take().unwrap());
        let all = async { while out.read_line(&mut said).await.is_ok_and(|many| many > 0) {} };
        let _ = tokio::time::timeout(PATIENCE, all).await;
        panic!("the journey went another way:\n{said}");
    }
}

async fn fail(node: Child) -> ! {
    let output = node.wait_with_output().await.unwrap();
    assert_passed(&output);
    panic!("the journey did not begin");
}
