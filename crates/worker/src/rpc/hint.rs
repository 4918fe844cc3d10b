//! The remedy, if a server speaks another protocol than the call.

use http::Uri;

use super::failure::{Cause, Failure, Mismatch};
use super::{By, CallError, failed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Connect,
    Grpc,
}

/// A call without an answer, in a text that has the remedy if there is one.
pub(super) fn told(failure: &Failure, called: Called, uri: &Uri) -> CallError {
    let message = match failure.mismatch {
        Some(mismatch) => format!("{}: {}", remedy(mismatch, called, uri), failure.message),
        None if failure.cause == Cause::NoConnection => {
            let (host, port) = (uri.host().unwrap_or("HOST"), uri.port_u16());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("can't connect to {host}{port}: {}", failure.message)
        }
        None => failure.message.clone(),
    };
    CallError { by: By::Nobody, ..failed(failure.code(), &message) }
}

fn remedy(mismatch: Mismatch, called: Called, uri: &Uri) -> String {
    let host = uri.authority().map_or("HOST", |authority| authority.as_str());
    match (mismatch, called) {
        (Mismatch::Http2Only, _) => format!("it speaks HTTP/2 only: write h2c://{host} in --endpoint"),
        (Mismatch::NoHttp2, Called::Connect) => {
            format!("it does not speak HTTP/2: write http://{host} in --endpoint")
        }
        (Mismatch::NoHttp2, Called::Grpc) => {
            format!("it does not speak HTTP/2, so it is not a gRPC server: {}", write_connect(uri))
        }
        (Mismatch::Tls, _) => speaks_tls(uri),
        (Mismatch::Untrusted, _) => {
            "its certificate is of an authority that is not known here: name it as `tls.ca` in services.yaml"
                .to_owned()
        }
        (Mismatch::OtherName, _) => {
            format!(
                "its certificate is not for {}: write the name that it is for",
                uri.host().unwrap_or("that name")
            )
        }
        (Mismatch::WantsCertificate, _) => {
            "it wants a client certificate that it trusts: `tls.cert` and `tls.key` in services.yaml"
                .to_owned()
        }
        (Mismatch::NoTls, Called::Connect) => {
            format!("it does not speak TLS: write http://{host} in --endpoint, or h2c://{host}")
        }
        (Mismatch::NoTls, Called::Grpc) => {
            format!("it does not speak TLS: write http://{host} in --endpoint")
        }
    }
}

/// For a server or a proxy that does not know the caller.
pub(super) const WANTS_TOKEN: &str =
    "it wants to know who calls: `token`, `headers` or `tls` in services.yaml";

pub(super) fn speaks_tls(uri: &Uri) -> String {
    let host = uri.authority().map_or("HOST", |authority| authority.as_str());
    format!("it speaks TLS: write https://{host} in --endpoint")
}

/// For a gRPC server that was called with Connect.
pub(super) fn write_grpc(uri: &Uri) -> String {
    format!("write --encoding {}=grpc", service(uri))
}

/// For a Connect server that was called with gRPC.
pub(super) fn write_connect(uri: &Uri) -> String {
    format!("write --encoding {}=json, or =proto", service(uri))
}

/// `/prefix/every.v1.EveryService/Take`: the flag may name a service in full.
fn service(uri: &Uri) -> &str {
    uri.path().rsplit('/').nth(1).unwrap_or("SERVICE")
}
