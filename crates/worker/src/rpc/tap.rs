//! What can be known of a connection from the bytes that go over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// DNS, TCP and TLS together: a host that lets nothing pass must not use up a whole timeout.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A frame of HTTP/2 begins with so many bytes; the others say sooner what they are.
const FIRST_BYTES: usize = 9;

/// What one connection has carried.
#[derive(Debug, Default)]
pub(super) struct Carried {
    answers: AtomicU32,
    silent: AtomicBool,
}

impl Carried {
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// It has carried an answer before.
    pub(super) fn is_used(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// Nothing came since something was sent.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

/// What a server speaks, by the first bytes that come from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    Unknown,
    Http1,
    Http2,
    Tls,
}

impl Tongue {
    fn of(first: &[u8]) -> Self {
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        match first {
            [b'H', b'T', b'T', b'P', b'/', ..] => Self::Http1,
            // A record of TLS that is an alert.
            [0x15, 3, ..] => Self::Tls,
            [0, _, _, SETTINGS | GOAWAY, _, 0, 0, 0, 0] => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

/// The tongue of whoever was connected to last.
#[derive(Debug, Default)]
pub(super) struct Heard(AtomicU8);

impl Heard {
    pub(super) fn tongue(&self) -> Tongue {
        [Tongue::Unknown, Tongue::Http1, Tongue::Http2, Tongue::Tls]
            [usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn set(&self, tongue: Tongue) {
        self.0.store(tongue as u8, Ordering::Relaxed);
    }
}

/// Connects as `C` does, and looks at what comes and goes.
#[derive(Debug, Clone)]
pub(super) struct Tapping<C> {
    inner: C,
    heard: Arc<Heard>,
}

impl<C> Tapping<C> {
    pub(super) fn new(inner: C, heard: Arc<Heard>) -> Self {
        Self { inner, heard }
    }
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl<C> tower_service::Service<Uri> for Tapping<C>
where
    C: tower_service::Service<Uri>,
    C::Response: rt::Read + rt::Write,
    C::Error: Into<Boxed>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<Tap<TokioIo<C::Response>>>;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, heard) = (self.inner.call(uri), Arc::clone(&self.heard));
        heard.set(Tongue::Unknown);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
            let stream = connected.map_err(|_| "no connection within 20s")?.map_err(Into::into)?;
            Ok(TokioIo::new(Tap::new(TokioIo::new(stream), heard)))
        })
    }
}

/// A connection that is looked at.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    carried: Arc<Carried>,
    heard: Arc<Heard>,
    first: Vec<u8>,
}

impl<S> Tap<S> {
    fn new(stream: S, heard: Arc<Heard>) -> Self {
        Self { stream, carried: Arc::default(), heard, first: Vec::new() }
    }

    fn came(&mut self, bytes: &[u8]) {
        self.carried.silent.store(false, Ordering::Relaxed);
        let missing = FIRST_BYTES - self.first.len();
        if missing > 0 {
            self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            self.heard.set(Tongue::of(&self.first));
        }
    }

    fn went(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            self.carried.silent.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: Connection> Connection for Tap<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(Arc::clone(&self.carried))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.came(&buf.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.went(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.went(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a protocol is told from another one by the first bytes, however few of them have come.
    #[test]
    fn the_first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Tongue); 8] = [
            (b"HTTP/1.1 ", Tongue::Http1),
            (b"HTTP/", Tongue::Http1),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], Tongue::Http2),
            (&[0, 0, 8, 7, 0, 0, 0, 0, 0], Tongue::Http2),
            (&[0, 0, 8, 1, 0, 0, 0, 0, 1], Tongue::Unknown),
            (&[0x15, 3, 3], Tongue::Tls),
            (b"SSH-2.0-O", Tongue::Unknown),
            (b"", Tongue::Unknown),
        ];
        for (first, tongue) in cases {
            assert_eq!(Tongue::of(first), tongue, "{first:?}");
            let heard = Heard::default();
            heard.set(tongue);
            assert_eq!(heard.tongue(), tongue);
        }
    }
}
