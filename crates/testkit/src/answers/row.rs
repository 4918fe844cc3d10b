//! One row of the table: a server's answer and its meaning.

use super::frames::Frame;

/// The client's protocol and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Json,
    Proto,
    Grpc,
}

/// The bytes that the server sends after it has read a whole request.
#[derive(Debug, Clone)]
pub enum Wire {
    /// Sent unchanged.
    Http1(Vec<u8>),
    /// On the stream of the request.
    Http2(Vec<Frame>),
    /// Sent after the client's first byte: the server speaks another protocol.
    Foreign(Vec<u8>),
    /// Sent before the client's first byte.
    Greeting(Vec<u8>),
}

/// What the server does with the connection after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    KeepOpen,
    Close,
    /// The kernel discards everything unread, which resets the connection.
    Reset,
}

/// The meaning that the client must find in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// `None` for a success.
    pub code: Option<&'static str>,
    /// A part of the message.
    pub message: &'static str,
    /// In milliseconds.
    pub retry_after: Option<u64>,
    /// How often the server is called.
    pub calls: u32,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Answer {
    pub name: String,
    pub sent: Sent,
    /// The endpoint's scheme: `http`, `h2c`, or `https`.
    pub scheme: &'static str,
    pub wire: Wire,
    pub then: Then,
    pub expected: Expected,
    pub source: &'static str,
}

impl Answer {
    /// Connect with JSON over HTTP/1.1. `code` is empty for a success.
    pub(super) fn http1(
        name: impl Into<String>,
        bytes: Vec<u8>,
        code: &'static str,
        source: &'static str,
    ) -> Self {
        Self::new(name.into(), Sent::Json, "http", Wire::Http1(bytes), code, source)
    }

    /// Connect with JSON over HTTP/2.
    pub(super) fn http2(
        name: impl Into<String>,
        frames: Vec<Frame>,
        code: &'static str,
        source: &'static str,
    ) -> Self {
        Self::new(name.into(), Sent::Json, "h2c", Wire::Http2(frames), code, source)
    }

    pub(super) fn grpc(
        name: impl Into<String>,
        frames: Vec<Frame>,
        code: &'static str,
        source: &'static str,
    ) -> Self {
        Self::new(name.into(), Sent::Grpc, "http", Wire::Http2(frames), code, source)
    }

    pub(super) fn new(
        name: String,
        sent: Sent,
        scheme: &'static str,
        wire: Wire,
        code: &'static str,
        source: &'static str,
    ) -> Self {
        let code = (!code.is_empty()).then_some(code);
        let expected = Expected { code, message: "", retry_after: None, calls: 1 };
        Self { name, sent, scheme, wire, then: Then::KeepOpen, expected, source }
    }

    pub(super) fn sent(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }

    pub(super) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(super) fn says(mut self, message: &'static str) -> Self {
        self.expected.message = message;
        self
    }

    pub(super) fn waits(mut self, milliseconds: u64) -> Self {
        self.expected.retry_after = Some(milliseconds);
        self
    }

    pub(super) fn calls(mut self, calls: u32) -> Self {
        self.expected.calls = calls;
        self
    }
}

/// A response of HTTP/1.1 with its length.
pub(super) fn response(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len().to_string();
    let mut bytes = head(status, headers);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A head of HTTP/1.1 without the body's length.
pub(super) fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Said So\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A Connect error as servers write it.
pub(super) fn error(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    response(status, &[JSON], body)
}

pub(super) const JSON: (&str, &str) = ("content-type", "application/json");
pub(super) const GRPC: (&str, &str) = ("content-type", "application/grpc");
