//! What RPC servers answer, byte for byte, and what each answer means: a table for the tests, and for every program that
//! plays an RPC server.
//!
//! A row names its source: the client of the protocol's own project, or the document, that reads the answer this way. Where a
//! row says `here`, the project decided for itself, and says why.

mod connect_body;
mod connect_http1;
mod connect_http2;
mod connect_status;
mod connect_success;
mod frames;
mod grpc_broken;
mod grpc_http;
mod grpc_status;
mod mismatch;
mod retry_after;
mod server;

pub use frames::{Frame, SETTINGS};
pub use server::{Reply, Server, Turn, end, read_http1};

/// What the client sends, and how it reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Json,
    Proto,
    Grpc,
}

/// What goes over the connection after the server has read a whole request.
#[derive(Debug, Clone)]
pub enum Wire {
    /// As it is.
    Http1(Vec<u8>),
    /// On the stream of the request.
    Http2(Vec<Frame>),
    /// Sent as soon as the client has said anything at all: the server speaks another protocol.
    Foreign(Vec<u8>),
    /// Sent before the client has said anything.
    Greeting(Vec<u8>),
}

/// What the server does with the connection after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    KeepOpen,
    Close,
    /// The client's kernel is told to forget what it has not read.
    Reset,
}

/// How the client must understand an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// A success if there is none.
    pub code: Option<&'static str>,
    /// What the message contains.
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
    /// Of the endpoint: `http`, `h2c`, or `https`.
    pub scheme: &'static str,
    pub wire: Wire,
    pub then: Then,
    pub expected: Expected,
    pub source: &'static str,
}

/// Every row there is.
pub fn all() -> Vec<Answer> {
    [
        connect_status::rows(),
        connect_body::rows(),
        connect_http1::rows(),
        connect_success::rows(),
        connect_http2::rows(),
        retry_after::rows(),
        grpc_status::rows(),
        grpc_http::rows(),
        grpc_broken::rows(),
        mismatch::rows(),
    ]
    .concat()
}

impl Answer {
    /// Connect with JSON over HTTP/1.1. `code` is empty for a success.
    fn http1(name: impl Into<String>, bytes: Vec<u8>, code: &'static str, source: &'static str) -> Self {
        Self::new(name.into(), Sent::Json, "http", Wire::Http1(bytes), code, source)
    }

    /// Connect with JSON over HTTP/2.
    fn http2(name: impl Into<String>, frames: Vec<Frame>, code: &'static str, source: &'static str) -> Self {
        Self::new(name.into(), Sent::Json, "h2c", Wire::Http2(frames), code, source)
    }

    fn grpc(name: impl Into<String>, frames: Vec<Frame>, code: &'static str, source: &'static str) -> Self {
        Self::new(name.into(), Sent::Grpc, "http", Wire::Http2(frames), code, source)
    }

    fn new(
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

    fn sent(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    fn says(mut self, message: &'static str) -> Self {
        self.expected.message = message;
        self
    }

    fn waits(mut self, milliseconds: u64) -> Self {
        self.expected.retry_after = Some(milliseconds);
        self
    }

    fn calls(mut self, calls: u32) -> Self {
        self.expected.calls = calls;
        self
    }
}

/// A response of HTTP/1.1 with its length.
fn response(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len().to_string();
    let mut bytes = head(status, headers);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A head of HTTP/1.1 that says nothing of the body's length.
fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Said So\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A Connect error as servers write it.
fn error(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    response(status, &[JSON], body)
}

const JSON: (&str, &str) = ("content-type", "application/json");
const GRPC: (&str, &str) = ("content-type", "application/grpc");
