//! Who may look, and who may change something.

mod network; // addresses of proxies
mod once; // the printed address
mod tokens; // a file of them

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::request::Parts;

use crate::secret::Secret;
pub use network::Network;
pub use once::Once;
pub use tokens::Tokens;

/// How a request shows whose it is.
#[derive(Debug)]
pub enum Access {
    /// The browser that opens the printed address first.
    Once(Once),
    /// Bearer, or the password of basic authentication.
    Tokens(Tokens),
    /// A proxy that has checked it puts the name into this header.
    Header { name: HeaderName, trust: Vec<Network>, may_repair: Vec<String> },
    /// The service in which the console is mounted puts a [`Viewer`] into the extensions of the request.
    Mounted,
}

/// Who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The audit keeps it.
    pub name: String,
    /// Without it there are no forms, and each is refused.
    pub may_repair: bool,
}

impl Viewer {
    /// As the audit has it.
    pub(crate) fn who(&self) -> String {
        format!("{}, console", self.name)
    }
}

impl Access {
    /// `None` if it is not known who asks.
    pub(crate) fn viewer(&self, parts: &Parts, secret: &Secret) -> Option<Viewer> {
        match self {
            Self::Once(once) => once.viewer(&parts.headers, secret),
            Self::Tokens(tokens) => {
                let given = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
                tokens.viewer(given, secret)
            }
            Self::Header { name, trust, may_repair } => {
                let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip();
                if !trust.iter().any(|network| network.has(peer)) {
                    return None;
                }
                let mut names = parts.headers.get_all(name).iter();
                // A second one may have come from the browser.
                let (Some(only), None) = (names.next(), names.next()) else { return None };
                let name = only.to_str().ok()?.trim();
                let may_repair = may_repair.iter().any(|may| may == name);
                let is_name = !name.is_empty() && name.len() <= 200 && !name.contains(',');
                is_name.then(|| Viewer { name: name.to_owned(), may_repair })
            }
            Self::Mounted => parts.extensions.get::<Viewer>().cloned(),
        }
    }
}
