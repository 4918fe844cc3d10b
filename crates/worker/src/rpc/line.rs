//! The connections to one RPC's server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use connectrpc::client::HttpClient;

use super::{ClientError, Encoding};

/// So many calls in a row without an answer, and their connection is given up.
const SILENCE_MAX: u32 = 3;

/// `http://` with HTTP/1.1, `h2c://` and gRPC with HTTP/2 in the clear, `https://` with either, as the server likes it,
/// its certificate checked against the system's roots.
///
/// Each RPC has connections of its own, so that one whose answers stall stalls nobody else's. HTTP/2 runs all calls over
/// one connection, and a call that timed out does not end it: if the other side is gone without a word (a lost node, a
/// forgotten NAT entry), calls would go unanswered until the kernel gives up. So silence ends it here.
#[derive(Debug)]
pub(super) struct Line {
    kind: Kind,
    http: Mutex<HttpClient>,
    silence: AtomicU32,
}

#[derive(Debug, Clone)]
enum Kind {
    Http1,
    Http2,
    Tls(Arc<rustls::ClientConfig>),
}

impl Line {
    /// The line to an address, and the address as its client takes it. TLS is set up once, for whoever needs it first.
    pub(super) fn to(
        url: &str,
        encoding: Encoding,
        tls: &mut Option<Arc<rustls::ClientConfig>>,
    ) -> Result<(Self, String), ClientError> {
        let url = url.trim_end_matches('/');
        let plain_grpc = || url.strip_prefix("http://").filter(|_| encoding == Encoding::Grpc);
        let (kind, base) = if let Some(rest) = url.strip_prefix("h2c://").or_else(plain_grpc) {
            (Kind::Http2, format!("http://{rest}"))
        } else if url.starts_with("https://") {
            let config = match tls {
                Some(config) => Arc::clone(config),
                none => Arc::clone(none.insert(tls_config()?)),
            };
            (Kind::Tls(config), url.to_owned())
        } else {
            (Kind::Http1, url.to_owned())
        };
        let http = Mutex::new(kind.connect());
        Ok((Self { kind, http, silence: AtomicU32::new(0) }, base))
    }

    pub(super) fn http(&self) -> HttpClient {
        self.http.lock().expect("no panic while held").clone()
    }

    /// Whether a call was answered. Calls under way on a connection that is given up go on.
    pub(super) fn heard(&self, answered: bool) {
        if answered {
            self.silence.store(0, Ordering::Relaxed);
        } else if self.silence.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCE_MAX {
            self.silence.store(0, Ordering::Relaxed);
            *self.http.lock().expect("no panic while held") = self.kind.connect();
        }
    }
}

impl Kind {
    fn connect(&self) -> HttpClient {
        match self {
            Kind::Http1 => HttpClient::plaintext(),
            Kind::Http2 => HttpClient::plaintext_http2_only(),
            Kind::Tls(config) => HttpClient::with_tls(Arc::clone(config)),
        }
    }
}

fn tls_config() -> Result<Arc<rustls::ClientConfig>, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ClientError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
