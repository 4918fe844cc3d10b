//! The metrics of a process.

use std::io::{Error, Result};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Process;

/// The address of a process's metrics, from its first log lines.
pub async fn addr(process: &mut Process) -> Result<String> {
    let line = process.wait_for("serving /metrics").await?;
    let addr = line.split_once("addr=").or_else(|| line.split_once("\"addr\":\""));
    let addr = addr.map(|(_, rest)| rest.chars().take_while(|c| !c.is_whitespace() && *c != '"').collect());
    addr.ok_or_else(|| Error::other(format!("no address in {line}")))
}

/// Status and body of a GET, with HTTP/1.0, whose answers come in one piece.
pub async fn get(addr: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| Error::other(format!("no HTTP answer from {addr}")))
}
