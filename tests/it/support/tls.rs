//! Certificates, and the RPCs' server behind TLS.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::world::Rpcs;

/// A certificate that is its own authority, and its key, also as files.
pub(crate) struct Certificate {
    pub(crate) cert: CertificateDer<'static>,
    key: Vec<u8>,
    dir: tempfile::TempDir,
}

/// The RPCs at `https://localhost:PORT`.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    pub(crate) root_file: String,
    _certificate: Certificate,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        Self { cert: cert.der().clone(), key: signing_key.serialize_der(), dir }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl TlsServer {
    /// With `client`, only calls with that certificate are answered.
    pub(crate) async fn start(rpcs: Rpcs, client: Option<&Certificate>) -> Self {
        let certificate = Certificate::new();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(client.cert.clone()).unwrap();
                let verifier: Arc<dyn ClientCertVerifier> =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                config.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivatePkcs8KeyDer::from(certificate.key.clone());
        let config = config.with_single_cert(vec![certificate.cert.clone()], key.into()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let serves = |rpc: &str| {
                (rpc.starts_with("Test/") || rpc.starts_with("Other/")) && !rpc.ends_with("/OutboxDoctor")
            };
            super::server::serve_tls(listener, Arc::new(config), serves, move |call| rpcs.handle(call)).await
        });
        Self { port, root_file: certificate.file("cert.pem"), _certificate: certificate }
    }
}
