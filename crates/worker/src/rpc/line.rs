//! The connections to one RPC's server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use outbox_event_router::services::{Encoding, TlsFiles};
use outbox_finding::Place;
use outbox_runtime::Guarded;

use super::failure::{Again, Failure, Mismatch};
use super::tls::{System, Tls, TlsError};
use super::watched::{LastProtocol, Protocol, Usage, Watching};

/// After so many calls in a row without an answer, their connection is given up.
const SILENCE_MAX: u32 = 3;
/// For each address of a name.
const TCP_CONNECT_MAX: Duration = Duration::from_secs(5);
/// Other headers must not hide a status: servers put whole error messages and their details into headers.
const HEADER_BYTES_MAX: u32 = 1 << 20;
const HEADERS_MAX: usize = 512;

/// `http://` has HTTP/1.1. `h2c://` and gRPC have HTTP/2 in the clear. `https://` has either, as the server prefers, and its
/// certificate is checked against the system's roots, and those that services.yaml adds.
///
/// Each RPC has connections of its own, so an RPC whose answers stall affects no other. HTTP/2 runs all calls over one
/// connection, and a timeout of a call does not end it. If the other side is gone silently (a lost node, a forgotten NAT
/// entry), calls would fail until the kernel gives up. So silence ends it here.
#[derive(Debug)]
pub(super) struct Line {
    kind: Kind,
    pool: Guarded<Pool>,
    silence: AtomicU32,
    last: Arc<LastProtocol>,
}

#[derive(Debug, Clone)]
enum Kind {
    Http1,
    Http2,
    Tls { tls: Tls, http2_only: bool },
}

/// Connections, and how often they were replaced.
#[derive(Debug, Clone)]
struct Pool {
    generation: u64,
    /// With which TLS was set up.
    config: Option<Arc<rustls::ClientConfig>>,
    client: Transport,
}

#[derive(Debug, Clone)]
enum Transport {
    Plain(Client<Watching<HttpConnector>, Full<Bytes>>),
    Tls(Client<Watching<HttpsConnector<HttpConnector>>, Full<Bytes>>),
}

/// The current connections of a line.
#[derive(Debug)]
pub(super) struct Http<'l> {
    line: &'l Line,
    pool: Pool,
}

impl Line {
    /// The line to an address, and the address in its client's form.
    pub(super) fn to(
        url: &str,
        encoding: Encoding,
        files: Option<(&TlsFiles, &Place)>,
        system: &mut System,
    ) -> Result<(Self, String), TlsError> {
        let url = url.trim_end_matches('/');
        let plain_grpc = || url.strip_prefix("http://").filter(|_| encoding == Encoding::Grpc);
        let (kind, base) = if let Some(rest) = url.strip_prefix("h2c://").or_else(plain_grpc) {
            (Kind::Http2, format!("http://{rest}"))
        } else if url.starts_with("https://") {
            let tls = Tls::new(files, system)?;
            (Kind::Tls { tls, http2_only: encoding == Encoding::Grpc }, url.to_owned())
        } else {
            (Kind::Http1, url.to_owned())
        };
        let last = Arc::new(LastProtocol::default());
        let pool = Guarded::new(kind.pool(0, &last));
        Ok((Self { kind, pool, silence: AtomicU32::new(0), last }, base))
    }

    /// After a change of the files of TLS, calls get new connections. Those under way go on.
    pub(super) fn http(&self) -> Http<'_> {
        let config = self.kind.config();
        let mut pool = self.pool.lock();
        if config.as_ref().map(Arc::as_ptr) != pool.config.as_ref().map(Arc::as_ptr) {
            *pool = self.kind.pool(pool.generation + 1, &self.last);
        }
        Http { line: self, pool: pool.clone() }
    }

    /// Notes whether a call was answered. Calls under way on a connection that is given up go on.
    pub(super) fn heard(&self, answered: bool) {
        if answered {
            self.silence.store(0, Ordering::Relaxed);
        } else if self.silence.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCE_MAX {
            self.silence.store(0, Ordering::Relaxed);
            let now = self.http().pool.generation;
            self.renewed(now);
        }
    }

    /// Replaces the connections of a generation. If another call has done so already, returns its new ones.
    fn renewed(&self, generation: u64) -> Transport {
        let mut pool = self.pool.lock();
        if pool.generation == generation {
            *pool = self.kind.pool(generation + 1, &self.last);
        }
        pool.client.clone()
    }

    /// The mismatch, if the server speaks another protocol than this line.
    fn mismatch(&self) -> Option<Mismatch> {
        match (&self.kind, self.last.protocol()) {
            (Kind::Http1 | Kind::Http2, Protocol::Tls) => Some(Mismatch::Tls),
            (Kind::Http1, Protocol::Http2) => Some(Mismatch::Http2Only),
            (Kind::Http2 | Kind::Tls { http2_only: true, .. }, Protocol::Http1) => Some(Mismatch::NoHttp2),
            _ => None,
        }
    }
}

impl Http<'_> {
    /// Returns the beginning of an answer. Some calls are made once more: see `Failure::again`.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let (failure, again) = match self.once(&self.pool.client, request.clone()).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let answer = match again {
            None => return Err(failure),
            Some(Again::Anyhow) => self.once(&self.pool.client, request).await,
            Some(Again::Afresh) => self.once(&self.line.renewed(self.pool.generation), request).await,
        };
        answer.map_err(|(failure, _)| failure)
    }

    async fn once(
        &self,
        client: &Transport,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, (Failure, Option<Again>)> {
        let connection = capture_connection(&mut request);
        let answer = match client {
            Transport::Plain(client) => client.request(request).await,
            Transport::Tls(client) => client.request(request).await,
        };
        let usage = usage(&connection);
        match answer {
            Ok(response) => {
                if let Some(usage) = usage {
                    usage.answered();
                }
                Ok(response)
            }
            Err(error) => {
                let failure = Failure::of(&error);
                let failure =
                    Failure { mismatch: failure.mismatch.or_else(|| self.line.mismatch()), ..failure };
                let used = usage.as_ref().is_some_and(|usage| usage.is_used());
                // Over HTTP/2 the bytes may be answers to other calls; for this call, nothing came.
                let is_http2 = error.connect_info().is_some_and(|info| info.is_negotiated_h2());
                let is_http2 = is_http2 || matches!(self.line.kind, Kind::Http2);
                let silent = is_http2 || usage.is_some_and(|usage| usage.is_silent());
                let again = failure.again(used, silent);
                Err((failure, again))
            }
        }
    }
}

fn usage(connection: &CaptureConnection) -> Option<Arc<Usage>> {
    let mut extensions = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extensions);
    extensions.remove()
}

impl Kind {
    fn config(&self) -> Option<Arc<rustls::ClientConfig>> {
        match self {
            Kind::Tls { tls, .. } => Some(tls.config()),
            Kind::Http1 | Kind::Http2 => None,
        }
    }

    fn pool(&self, generation: u64, last: &Arc<LastProtocol>) -> Pool {
        let config = self.config();
        Pool { generation, client: self.connect(config.as_deref(), last), config }
    }

    fn connect(&self, config: Option<&rustls::ClientConfig>, last: &Arc<LastProtocol>) -> Transport {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(TCP_CONNECT_MAX));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        builder.http1_max_headers(HEADERS_MAX).http1_max_buf_size(HEADER_BYTES_MAX as usize);
        builder.http2_max_header_list_size(HEADER_BYTES_MAX);
        match (self, config) {
            (Kind::Tls { http2_only, .. }, Some(config)) => {
                connector.enforce_http(false);
                builder.http2_only(*http2_only);
                let https = HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_only();
                let https = match http2_only {
                    true => https.enable_http2().wrap_connector(connector),
                    false => https.enable_all_versions().wrap_connector(connector),
                };
                Transport::Tls(builder.build(Watching::new(https, Arc::clone(last))))
            }
            (kind, _) => {
                builder.http2_only(matches!(kind, Kind::Http2));
                Transport::Plain(builder.build(Watching::new(connector, Arc::clone(last))))
            }
        }
    }
}
