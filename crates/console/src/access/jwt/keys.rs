//! The public keys of an identity provider. A key that is known waits for no fetch, so neither invented keys nor a slow provider
//! stop those who are known.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, fs};

use axum::http::Uri;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use tokio::time::Instant;

use crate::fetch::fetch;

/// For a key that is not known the provider is asked at most so often. Invented keys cost it no more than that.
pub(super) const AGAIN: Duration = Duration::from_secs(60);
/// A key that the provider has removed is forgotten after so long.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);
/// From here on they are read again, while requests go on with those that are known.
const SOON: Duration = Duration::from_secs(50 * 60);
/// Cloudflare Access signs only addresses that it has checked, and does not say so in the token.
const CLOUDFLARE: &str = ".cloudflareaccess.com";

/// Where the public keys are: a JWKS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Url(Uri),
}

#[derive(Debug)]
pub(super) struct Keys {
    place: Place,
    known: Mutex<Known>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    set: JwkSet,
    read: Option<Instant>,
    /// The last try, whether it succeeded or not.
    tried: Option<Instant>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("many", &self.set.keys.len()).finish_non_exhaustive()
    }
}

impl Place {
    /// A file, or an address with https.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::File(PathBuf::from(text))),
            Some(("https", _)) => text.parse().map(Self::Url).map_err(|error| format!("{text}: {error}")),
            Some(_) => Err(format!("{text}: keys are fetched by https, or read from a file")),
        }
    }

    pub(super) fn is_of_cloudflare(&self) -> bool {
        matches!(self, Self::Url(url) if url.host().is_some_and(|host| host.to_ascii_lowercase().ends_with(CLOUDFLARE)))
    }

    async fn read(&self) -> Result<JwkSet, String> {
        let text = match self {
            Self::File(file) => fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?,
            Self::Url(url) => fetch(url).await.map_err(|why| format!("the keys of {url}: {why}"))?,
        };
        serde_json::from_slice(&text).map_err(|error| format!("the keys are no JWKS: {error}"))
    }
}

impl Keys {
    pub(super) fn new(place: Place) -> Arc<Self> {
        Arc::new(Self { place, known: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// Reads them: whether they can be read at all.
    pub(super) async fn read(&self) -> Result<(), String> {
        self.known().tried = Some(Instant::now());
        let set = self.place.read().await?;
        let mut known = self.known();
        (known.set, known.read) = (set, Some(Instant::now()));
        Ok(())
    }

    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Option<Jwk> {
        let (key, tried, read) = {
            let known = self.known();
            (known.set.find(kid).cloned(), known.tried, known.read)
        };
        if key.is_none() || is_older(tried, KEPT) {
            // It goes on when the browser goes away, because others wait for it.
            let _ = tokio::spawn(Arc::clone(self).read_again()).await;
            return self.known().set.find(kid).cloned();
        }
        if is_older(read, SOON) && is_older(tried, AGAIN) {
            tokio::spawn(Arc::clone(self).read_again());
        }
        key
    }

    /// Not if it was tried in the last minute, perhaps while this waited. Those that are known serve until the provider answers.
    async fn read_again(self: Arc<Self>) {
        let _one = self.fetching.lock().await;
        let tried = self.known().tried;
        if is_older(tried, AGAIN)
            && let Err(why) = self.read().await
        {
            eprintln!("warning: {why}");
        }
    }

    /// As if they had been read so long ago.
    #[cfg(test)]
    pub(super) fn put(&self, keys: Vec<Jwk>, ago: Duration) {
        let at = Instant::now().checked_sub(ago);
        *self.known() = Known { set: JwkSet { keys }, read: at, tried: at };
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_older(at: Option<Instant>, than: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() >= than)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: only keys of Cloudflare's own addresses are Cloudflare's.
    #[test]
    fn a_place_is_a_file_or_https() {
        for (text, is_of_cloudflare) in [
            ("https://acme.cloudflareaccess.com/cdn-cgi/access/certs", Some(true)),
            ("https://ACME.CloudflareAccess.com/cdn-cgi/access/certs", Some(true)),
            ("https://cloudflareaccess.com.evil.example/certs", Some(false)),
            ("https://evilcloudflareaccess.com/certs", Some(false)),
            ("https://evil.example/acme.cloudflareaccess.com", Some(false)),
            ("keys.cloudflareaccess.com", Some(false)),
            ("http://acme.cloudflareaccess.com/certs", None),
            ("ftp://idp.example/keys", None),
        ] {
            let place = Place::parse(text);
            assert_eq!(place.ok().map(|place| place.is_of_cloudflare()), is_of_cloudflare, "{text}");
        }
    }
}
