//! Answers of RPC servers, byte for byte, and their meaning: a table for tests, and for programs that play an RPC server.
//!
//! A row names its source: the protocol's own client, or the document, that reads the answer this way. A row with the source
//! `here` is the project's own decision, with its reason.

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

/// Every row.
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
