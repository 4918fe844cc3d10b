//! TLS to one service: the system's roots and its own, and perhaps a client certificate.

use std::path::PathBuf;
use std::sync::Arc;

use outbox_event_router::services::TlsFiles;
use outbox_finding::Place;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::reread::{FileError, Named, Reread};

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("an endpoint is https, and this machine has no root certificates")]
    NoRoots,
    #[error("failed to set up TLS")]
    Setup(#[source] rustls::Error),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The system's roots. They are read at their first use.
#[derive(Debug, Default)]
pub(super) struct System(Option<Arc<RootCertStore>>);

impl System {
    fn roots(&mut self) -> Arc<RootCertStore> {
        let read = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        };
        Arc::clone(self.0.get_or_insert_with(read))
    }
}

#[derive(Debug, Clone)]
pub(super) enum Tls {
    Fixed(Arc<ClientConfig>),
    Files(Arc<Reread<Arc<ClientConfig>>>),
}

impl Tls {
    pub(super) fn new(files: Option<(&TlsFiles, &Place)>, system: &mut System) -> Result<Self, TlsError> {
        let roots = system.roots();
        let Some((files, place)) = files else {
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
            return Ok(Self::Fixed(config(&roots, &[], None).map_err(TlsError::Setup)?));
        };
        let has_ca = files.ca.is_some();
        let named = |key: &str, path: &PathBuf| Named::by(key, place, path.clone());
        let ca = files.ca.iter().map(|path| named("tls.ca", path));
        let identity = files.identity.iter();
        let identity = identity.flat_map(|(cert, key)| [named("tls.cert", cert), named("tls.key", key)]);
        let paths = ca.chain(identity).collect();
        let make = move |read: &[Vec<u8>]| made(&roots, read, has_ca);
        Ok(Self::Files(Arc::new(Reread::open(paths, make)?)))
    }

    /// The configuration of now; another one if a file changed.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Fixed(config) => Arc::clone(config),
            Self::Files(files) => Arc::clone(&files.get()),
        }
    }
}

/// From the content of the files: the authorities if there are any, then certificate and key if there are any.
fn made(roots: &RootCertStore, read: &[Vec<u8>], has_ca: bool) -> Result<Arc<ClientConfig>, String> {
    let (authorities, rest) = read.split_at(usize::from(has_ca));
    let authorities =
        authorities.first().map(|pem| certificates(pem, "tls.ca")).transpose()?.unwrap_or_default();
    let identity = match rest {
        [cert, key] => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| "tls.key has no private key in the form PEM")?;
            Some((certificates(cert, "tls.cert")?, key))
        }
        _ => None,
    };
    config(roots, &authorities, identity).map_err(|error| error.to_string())
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| format!("{key} has no certificate in the form PEM"))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn config(
    system: &RootCertStore,
    authorities: &[CertificateDer<'static>],
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = system.clone();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    }))
}
