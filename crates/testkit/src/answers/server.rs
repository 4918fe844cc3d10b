//! A server that reads requests and answers them with given bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::frames::{Frame, SETTINGS, SETTINGS_ACK, frame};
use super::row::{Answer, Then, Wire};

const PREFACE_BYTES: usize = 24;
const SETTINGS_FRAME: u8 = 4;
const PING_FRAME: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// The number of a request, from 0, over all connections and on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub connection: u32,
    pub request: u32,
}

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub wire: Wire,
    pub then: Then,
}

type Script = Arc<dyn Fn(Turn) -> Reply + Send + Sync>;

/// Answers on a free port until it is dropped.
pub struct Server {
    addr: SocketAddr,
    calls: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Server {
    /// Gives every request the same answer.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(answer: &Answer) -> io::Result<Self> {
        let reply = Reply { wire: answer.wire.clone(), then: answer.then };
        Self::scripted(move |_| reply.clone()).await
    }

    /// Gives each request an answer of its own. The first answer on a connection decides its protocol.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn scripted(script: impl Fn(Turn) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let calls = Arc::new(AtomicU32::new(0));
        let (script, counter): (Script, _) = (Arc::new(script), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let served = Connection {
                    stream: BufReader::new(stream),
                    script: Arc::clone(&script),
                    calls: Arc::clone(&counter),
                    turn: Turn { connection, request: 0 },
                };
                // The client may disconnect at any time.
                tokio::spawn(async move { served.serve().await.unwrap_or_default() });
                connection += 1;
            }
        });
        Ok(Self { addr, calls, task })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The number of requests so far.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).field("calls", &self.calls()).finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    script: Script,
    calls: Arc<AtomicU32>,
    turn: Turn,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        self.stream.get_ref().set_nodelay(true)?;
        let first = (self.script)(self.turn);
        match first.wire {
            Wire::Http1(_) => self.http1().await,
            Wire::Http2(_) => self.http2().await,
            Wire::Foreign(bytes) => {
                self.stream.read_exact(&mut [0]).await?;
                self.next();
                self.stream.write_all(&bytes).await?;
                end(self.stream, first.then).await
            }
            Wire::Greeting(bytes) => {
                self.next();
                self.stream.write_all(&bytes).await?;
                self.stream.read_exact(&mut [0]).await?;
                end(self.stream, first.then).await
            }
        }
    }

    /// The answer to the request that arrived.
    fn next(&mut self) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let reply = (self.script)(self.turn);
        self.turn.request += 1;
        reply
    }

    async fn http1(mut self) -> io::Result<()> {
        while read_http1(&mut self.stream).await?.is_some() {
            let Reply { wire, then } = self.next();
            if let Wire::Http1(bytes) = wire {
                self.stream.write_all(&bytes).await?;
            }
            if then != Then::KeepOpen {
                return end(self.stream, then).await;
            }
        }
        Ok(())
    }

    async fn http2(mut self) -> io::Result<()> {
        self.stream.write_all(&SETTINGS).await?;
        self.stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
        loop {
            let stream = self.read_http2().await?;
            let Reply { wire, then } = self.next();
            if let Wire::Http2(frames) = wire {
                let bytes: Vec<u8> = frames.iter().flat_map(|frame: &Frame| frame.bytes(stream)).collect();
                self.stream.write_all(&bytes).await?;
            }
            if then != Then::KeepOpen {
                return end(self.stream, then).await;
            }
        }
    }

    /// The stream of the next whole request.
    async fn read_http2(&mut self) -> io::Result<u32> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let (kind, flags) = (head[3], head[4]);
            let mut payload = vec![0; usize::try_from(length).expect("three bytes")];
            self.stream.read_exact(&mut payload).await?;
            match kind {
                SETTINGS_FRAME if flags & ACK == 0 => self.stream.write_all(&SETTINGS_ACK).await?,
                PING_FRAME if flags & ACK == 0 => {
                    self.stream.write_all(&frame(PING_FRAME, ACK, 0, &payload)).await?;
                }
                // Headers or data that end the request.
                0 | 1 if flags & END_STREAM != 0 => {
                    return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
                }
                _ => {}
            }
        }
    }
}

/// Reads the head and the body of the next request on HTTP/1.1. `None` if the client has disconnected.
///
/// # Errors
///
/// The connection ends within a request.
pub async fn read_http1(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(Some((head, body)))
}

/// Ends the connection after its last answer.
///
/// # Errors
///
/// The client has broken it off.
pub async fn end(mut stream: BufReader<TcpStream>, then: Then) -> io::Result<()> {
    match then {
        Then::KeepOpen => {}
        // The client's remaining bytes are read, because unread ones would cause a reset.
        Then::Close => stream.shutdown().await?,
        Then::Reset => return stream.get_ref().set_zero_linger(),
    }
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
