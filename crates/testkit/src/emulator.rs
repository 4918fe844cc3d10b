//! An emulator of AWS, ministack, on loopback, for as long as its handle lives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::terraform::{Terraform, TerraformError};
use crate::tools::{self, ToolError};

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A package on PyPI.
pub const PACKAGE: &str = "ministack==1.5.33";
/// The emulator's standard input closes when the process that started it ends, in any way.
const MINDER: &str = r#"
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
sys.argv = ["ministack"]
from ministack.app import main
main()
"#;

#[derive(Debug)]
pub struct Emulator {
    child: Child,
    endpoint: String,
}

#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("failed to start the AWS emulator")]
    Io(#[from] std::io::Error),
    #[error("the AWS emulator did not start: {0}")]
    Silent(String),
    #[error(transparent)]
    Terraform(#[from] TerraformError),
}

impl Emulator {
    pub fn start() -> Result<Self, EmulatorError> {
        let packages = tools::python_package(PACKAGE, "ministack")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::env::temp_dir().join(format!("outbox-emulator-{}-{port}.log", std::process::id()));
        let child = Command::new("python3")
            .args(["-c", MINDER])
            .current_dir(std::env::temp_dir())
            .env("PYTHONPATH", packages)
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&log)?)
            .stderr(std::fs::File::options().append(true).open(&log)?)
            .spawn()?;
        let mut emulator = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + STARTS_WITHIN;
        while !answers(port) {
            let ended = emulator.child.try_wait()?.is_some();
            if ended || Instant::now() > until {
                return Err(EmulatorError::Silent(last_lines(&log)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = std::fs::remove_file(log);
        Ok(emulator)
    }

    /// Starts an emulator and applies Terraform. In one of a few hundred runs an answer of the emulator is lost, and the
    /// provider repeats a request that has succeeded. Then a second emulator is tried.
    pub fn provisioned(terraform: &Terraform) -> Result<Self, EmulatorError> {
        let first = Self::start()?;
        let Err(error) = terraform.apply(first.endpoint()) else { return Ok(first) };
        eprintln!("trying once more, with another emulator: {error}");
        let second = Self::start()?;
        terraform.forget()?;
        terraform.apply(second.endpoint())?;
        Ok(second)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The environment in which a program takes the emulator for AWS.
    pub fn environment(&self) -> [(&'static str, &str); 6] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // Ignores the user's own profile.
            ("AWS_CONFIG_FILE", "/dev/null"),
        ]
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.contains("200"))
    };
    ask().unwrap_or(false)
}

fn last_lines(log: &Path) -> String {
    let mut text = String::new();
    let _ = std::fs::File::open(PathBuf::from(log)).and_then(|mut file| file.read_to_string(&mut text));
    let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.reverse();
    lines.join("\n")
}
