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
mod row;
mod server;

pub use frames::{Frame, SETTINGS};
pub use row::{Answer, Expected, Sent, Then, Wire};
pub use server::{Reply, Server, Turn, end, read_http1};

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
