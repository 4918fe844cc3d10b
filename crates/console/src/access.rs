//! Who may look, and who may change something.

mod allow; // who may do what
#[cfg(feature = "jwt")]
mod jwt; // signed tokens
mod network; // addresses of proxies
mod once; // the printed address
mod tokens; // a file of them

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::request::Parts;

use crate::secret::Secret;
pub use allow::{Allow, Rule};
#[cfg(feature = "jwt")]
pub use jwt::{Jwt, JwtName};
pub use network::Network;
pub use once::Once;
pub use tokens::Tokens;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How a request shows whose it is.
#[derive(Debug)]
pub enum Access {
    /// The browser that opens the printed address first.
    Once(Once),
    /// Bearer, or the password of basic authentication.
    Tokens(Tokens),
    /// A proxy that has checked it puts the name into this header, and groups into another.
    Header { name: HeaderName, groups: Option<HeaderName>, trust: Vec<Network> },
    /// A token that an identity provider has signed.
    #[cfg(feature = "jwt")]
    Jwt(Jwt),
    /// The service in which the console is mounted puts a [`Viewer`] into the extensions of the request.
    Mounted,
}

/// Who looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Viewer {
    /// The audit keeps it.
    pub name: String,
    pub groups: Vec<String>,
    /// What else names this person: the subject of a signed token. Two viewers with one subject are one person.
    pub subject: Option<String>,
    /// From where, for the audit.
    pub address: Option<IpAddr>,
    /// Events by key or header, and keys in lists: they may be personal. Those who may repair may do it on any console.
    pub may_search_keys: bool,
    /// Without it there are no forms, and each is refused.
    pub may_repair: bool,
    /// What can't be taken back: to drop.
    pub may_destroy: bool,
    /// One letter's payload at a time, with a reason that the audit keeps.
    pub may_see_payloads: bool,
}

impl Viewer {
    /// As the audit has it.
    pub(crate) fn who(&self) -> String {
        match self.address {
            Some(address) => format!("{} at {address}, console", self.name),
            None => format!("{}, console", self.name),
        }
    }

    /// Whether they are one person.
    pub(crate) fn is(&self, name: &str, subject: Option<&str>) -> bool {
        let is_subject = subject.is_some() && self.subject.as_deref() == subject;
        is_subject || self.name.trim().to_lowercase() == name.trim().to_lowercase()
    }
}

impl Access {
    /// `None` if it is not known who asks.
    pub(crate) async fn viewer(&self, parts: &Parts, secret: &Secret) -> Option<Viewer> {
        let viewer = self.named(parts, secret).await?;
        let address = viewer.address.or_else(|| self.address(parts));
        Some(Viewer { address, ..viewer })
    }

    /// Of the browser, as far as that is known. A trusted proxy passes the address of the browser on.
    fn address(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
        match self {
            Self::Header { .. } => Some(asked_for(parts).unwrap_or(peer)),
            _ => Some(peer),
        }
    }

    async fn named(&self, parts: &Parts, secret: &Secret) -> Option<Viewer> {
        match self {
            Self::Once(once) => once.viewer(&parts.headers, secret),
            Self::Tokens(tokens) => {
                let given = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
                tokens.viewer(given, secret)
            }
            Self::Header { name, groups, trust } => {
                let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip();
                if !trust.iter().any(|network| network.has(peer)) {
                    return None;
                }
                let name = only(parts, name)?;
                let groups = groups.as_ref().and_then(|groups| only(parts, groups)).unwrap_or_default();
                let groups = groups.split(',').map(|group| group.trim().to_owned()).collect();
                let is_name = !name.is_empty() && name.len() <= 200 && !name.contains(',');
                is_name.then(|| Viewer { name: name.to_owned(), groups, ..Viewer::default() })
            }
            #[cfg(feature = "jwt")]
            Self::Jwt(jwt) => jwt.viewer(&parts.headers).await,
            Self::Mounted => parts.extensions.get::<Viewer>().cloned(),
        }
    }
}

/// The last address is the one that the proxy itself has added. Those before it may have come from the browser.
fn asked_for(parts: &Parts) -> Option<IpAddr> {
    let last = parts.headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Of a header that is there twice, one may have come from the browser.
fn only<'a>(parts: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    let mut all = parts.headers.get_all(name).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    only.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: one person is not two, neither by the letters of a name nor by another name in another token.
    #[test]
    fn one_person_is_not_two() {
        let viewer = |name: &str, subject: Option<&str>| Viewer {
            name: name.to_owned(),
            subject: subject.map(str::to_owned),
            ..Viewer::default()
        };
        for (name, subject, by, of, is_one) in [
            ("ann", None, " Ann", None, true),
            ("ann", None, "bob", None, false),
            ("ann", Some("u-1"), "ann@old.example", Some("u-1"), true),
            ("ann", Some("u-1"), "bob", Some("u-2"), false),
            ("ann", Some("u-1"), "ann", Some("u-2"), true),
            ("ann", None, "bob", Some("u-2"), false),
        ] {
            assert_eq!(viewer(name, subject).is(by, of), is_one, "{name} {subject:?} {by} {of:?}");
        }
    }
}
