use std::fmt;
use std::path::PathBuf;

use outbox_finding::Place;

use super::endpoint::Encoding;

/// The entries of one `services.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// For every service without an entry of its own.
    pub default: Option<Entry>,
    pub entries: Vec<Entry>,
}

/// A service, or all services whose name begins so (`acme.billing.*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub place: Place,
    /// It may have a placeholder for the service's name.
    pub address: Option<String>,
    pub encoding: Option<Encoding>,
    /// By lower-case name.
    pub headers: Vec<(String, Value)>,
    /// The file of a bearer token.
    pub token: Option<PathBuf>,
    pub tls: Option<TlsFiles>,
    /// Files of secrets; each has one on each line.
    pub signature: Vec<PathBuf>,
}

/// Files in the form PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// A client certificate with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The value of a header. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Literal(String),
    File(PathBuf),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}
