//! A server that reads requests and answers each with the same bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::frames::{Frame, SETTINGS, SETTINGS_ACK, frame};
use super::{Answer, Then, Wire};

const PREFACE_BYTES: usize = 24;
const SETTINGS_FRAME: u8 = 4;
const PING_FRAME: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// Answers on a free port until it is dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    calls: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Server {
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start(answer: &Answer) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (wire, then) = (Arc::new(answer.wire.clone()), answer.then);
        let calls = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (wire, calls) = (Arc::clone(&wire), Arc::clone(&counter));
                tokio::spawn(async move {
                    // The client may go when it likes.
                    let _ = serve(stream, &wire, then, &calls).await;
                });
            }
        });
        Ok(Self { addr, calls, task })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// So many whole requests came.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, wire: &Wire, then: Then, calls: &AtomicU32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match wire {
        Wire::Http1(bytes) => {
            while read_http1(&mut stream).await? {
                calls.fetch_add(1, Ordering::SeqCst);
                stream.write_all(bytes).await?;
                if then != Then::KeepOpen {
                    return end(stream, then).await;
                }
            }
            Ok(())
        }
        Wire::Http2(frames) => http2(stream, frames, then, calls).await,
        Wire::Foreign(bytes) => {
            stream.read_exact(&mut [0]).await?;
            calls.fetch_add(1, Ordering::SeqCst);
            stream.write_all(bytes).await?;
            end(stream, then).await
        }
        Wire::Greeting(bytes) => {
            stream.write_all(bytes).await?;
            stream.read_exact(&mut [0]).await?;
            calls.fetch_add(1, Ordering::SeqCst);
            end(stream, then).await
        }
    }
}

async fn end(mut stream: TcpStream, then: Then) -> io::Result<()> {
    match then {
        Then::KeepOpen => drain(&mut stream).await,
        // What the client still sends is read: otherwise its kernel hears of a reset.
        Then::Close => {
            stream.shutdown().await?;
            drain(&mut stream).await
        }
        Then::Reset => stream.set_zero_linger(),
    }
}

async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Whether there was another request: its head, and as much body as it announces.
async fn read_http1(stream: &mut TcpStream) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(false);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    Ok(true)
}

async fn http2(mut stream: TcpStream, frames: &[Frame], then: Then, calls: &AtomicU32) -> io::Result<()> {
    stream.write_all(&SETTINGS).await?;
    stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).expect("three bytes")];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS_FRAME if flags & ACK == 0 => stream.write_all(&SETTINGS_ACK).await?,
            PING_FRAME if flags & ACK == 0 => stream.write_all(&frame(PING_FRAME, ACK, 0, &payload)).await?,
            // Headers or data that end the request.
            0 | 1 if flags & END_STREAM != 0 => {
                calls.fetch_add(1, Ordering::SeqCst);
                let answer: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes(id)).collect();
                stream.write_all(&answer).await?;
                if then != Then::KeepOpen {
                    return end(stream, then).await;
                }
            }
            _ => {}
        }
    }
}
