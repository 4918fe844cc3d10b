//! Observes a connection by its bytes.

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

/// For DNS, TCP and TLS together: a host that drops all packets must not use up a whole timeout.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// The length of an HTTP/2 frame's header. The other protocols are recognized by fewer bytes.
const FIRST_BYTES: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Usage {
    answers: AtomicU32,
    silent: AtomicBool,
}

impl Usage {
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has carried an answer before.
    pub(super) fn is_used(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing came since something was sent.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

/// The protocol of a server, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Unknown,
    Http1,
    Http2,
    Tls,
}

impl Protocol {
    fn of(first: &[u8]) -> Self {
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        match first {
            [b'H', b'T', b'T', b'P', b'/', ..] => Self::Http1,
            // A TLS record with an alert.
            [0x15, 3, ..] => Self::Tls,
            [0, _, _, SETTINGS | GOAWAY, _, 0, 0, 0, 0] => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct LastProtocol(AtomicU8);

impl LastProtocol {
    pub(super) fn protocol(&self) -> Protocol {
        [Protocol::Unknown, Protocol::Http1, Protocol::Http2, Protocol::Tls]
            [usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn set(&self, protocol: Protocol) {
        self.0.store(protocol as u8, Ordering::Relaxed);
    }
}

/// A connector with observed connections.
#[derive(Debug, Clone)]
pub(super) struct Watching<C> {
    inner: C,
    last: Arc<LastProtocol>,
}

impl<C> Watching<C> {
    pub(super) fn new(inner: C, last: Arc<LastProtocol>) -> Self {
        Self { inner, last }
    }
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl<C> tower_service::Service<Uri> for Watching<C>
where
    C: tower_service::Service<Uri>,
    C::Response: rt::Read + rt::Write,
    C::Error: Into<Boxed>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<Watched<TokioIo<C::Response>>>;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, last) = (self.inner.call(uri), Arc::clone(&self.last));
        last.set(Protocol::Unknown);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
            let stream = connected.map_err(|_| "no connection within 20s")?.map_err(Into::into)?;
            Ok(TokioIo::new(Watched::new(TokioIo::new(stream), last)))
        })
    }
}

/// A connection that records its traffic.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    usage: Arc<Usage>,
    last: Arc<LastProtocol>,
    first: Vec<u8>,
}

impl<S> Watched<S> {
    fn new(stream: S, last: Arc<LastProtocol>) -> Self {
        Self { stream, usage: Arc::default(), last, first: Vec::new() }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.usage.silent.store(false, Ordering::Relaxed);
        let missing = FIRST_BYTES - self.first.len();
        if missing > 0 {
            self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            self.last.set(Protocol::of(&self.first));
        }
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            self.usage.silent.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: Connection> Connection for Watched<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(Arc::clone(&self.usage))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.received(&buf.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(&written);
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

    /// Guards: a protocol is recognized by the first bytes, however few of them have come.
    #[test]
    fn the_first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Protocol); 8] = [
            (b"HTTP/1.1 ", Protocol::Http1),
            (b"HTTP/", Protocol::Http1),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], Protocol::Http2),
            (&[0, 0, 8, 7, 0, 0, 0, 0, 0], Protocol::Http2),
            (&[0, 0, 8, 1, 0, 0, 0, 0, 1], Protocol::Unknown),
            (&[0x15, 3, 3], Protocol::Tls),
            (b"SSH-2.0-O", Protocol::Unknown),
            (b"", Protocol::Unknown),
        ];
        for (first, protocol) in cases {
            assert_eq!(Protocol::of(first), protocol, "{first:?}");
            let last = LastProtocol::default();
            last.set(protocol);
            assert_eq!(last.protocol(), protocol);
        }
    }
}
