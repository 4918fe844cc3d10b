//! The call: an event's payload to the RPC that subscribed to it.

mod answer; // reads an answer, for every encoding
mod body; // payload -> request
mod client; // the target of each RPC
mod client_error;
mod connect; // json and proto
mod credentials; // how a call shows who makes it
mod failure; // a missing or broken answer
mod grpc;
mod grpc_status; // headers and trailers -> outcome
mod headers; // which of an event's headers travel
mod hint; // the remedy for a wrong protocol
mod line; // connections
mod prefix; // prefixes that names of headers may have
mod probe; // a call of no method, for `outbox doctor`
mod reread; // files that change
mod tls;
mod watched; // observes the bytes of a connection
mod wire_error; // reads a Connect error, even a damaged one

pub use body::fields_of;
pub use client::{Client, Services};
pub use client_error::ClientError;
pub(crate) use headers::{REPLAY, withheld_of};
pub use outbox_event_router::services::{
    Encoding, EncodingError, Endpoint, EndpointError, Many, ServiceEncoding,
};
pub use prefix::{HeaderPrefix, HeaderPrefixError};
pub use probe::Probe;
pub use reread::FileError;
pub use tls::TlsError;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use outbox_event::Envelope;
use outbox_event_router::Rpc;
use outbox_transport::Outcome;

/// An RPC can ask for any wait. A message lives for two weeks, in which it should be called more than once.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MESSAGE_CHARS_MAX: usize = 1000;

#[derive(Debug)]
pub struct Call<'a> {
    pub rpc: &'a Rpc,
    pub event: &'a Envelope<'a>,
    pub attempt: u32,
    pub timeout: Duration,
}

pub trait RpcClient: Send + Sync + 'static {
    fn call(&self, call: &Call<'_>) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Whether this worker receives for an RPC.
    fn serves(&self, _rpc: &Rpc) -> Serves {
        Serves::Yes
    }

    /// What becomes of the delivery after this call, for those who watch. It must not block.
    fn became(&self, _call: &Call<'_>, _outcome: &Outcome, _took: Duration) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    Yes,
    /// Nothing says where its service is: its queue waits.
    Unaddressed,
    /// It is left to other workers (`--only`).
    NotHere,
}

/// Why a call did not succeed. The message is the server's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CallError {
    pub code: Code,
    pub message: String,
    pub retry_after: Option<Duration>,
    pub by: By,
}

/// The origin of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The RPC's server, or a timeout: a server that is there may take as long.
    Server,
    /// No server: there was no connection, no answer on it, or a proxy answered that there is no server.
    Nobody,
    /// The worker, which made no call.
    Worker,
}

/// Connect's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Canceled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    pub const ALL: [Code; 16] = [
        Code::Canceled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::Canceled => "canceled",
            Code::Unknown => "unknown",
            Code::InvalidArgument => "invalid_argument",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::PermissionDenied => "permission_denied",
            Code::ResourceExhausted => "resource_exhausted",
            Code::FailedPrecondition => "failed_precondition",
            Code::Aborted => "aborted",
            Code::OutOfRange => "out_of_range",
            Code::Unimplemented => "unimplemented",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::DataLoss => "data_loss",
            Code::Unauthenticated => "unauthenticated",
        }
    }

    /// The meaning of an HTTP status without a Connect error or a gRPC status, from a proxy or another server. It is gRPC's
    /// table, which Connect uses, too.
    pub fn of_http_status(status: u16) -> Self {
        match status {
            400 | 431 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Code::ALL.into_iter().find(|code| code.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message is shown to people and stored, so it is bounded and has no control characters. Postgres refuses one of these, and
/// terminals obey others.
fn failed(code: Code, message: &str) -> CallError {
    let message =
        message.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    CallError { code, message, retry_after: None, by: By::Server }
}
