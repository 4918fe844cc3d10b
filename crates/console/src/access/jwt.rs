//! Signed tokens of an identity provider: Cloudflare Access, or a proxy that passes the token on. The signature says who asks, so
//! no network needs to be trusted.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, Uri};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Viewer, fetch};

/// For a key that is not known the provider is asked at most so often. Invented keys cost it no more than that.
const AGAIN: Duration = Duration::from_secs(60);
/// A key that the provider has removed is forgotten after so long.
const KEPT: Duration = Duration::from_secs(60 * 60);
const CLOCKS_DIFFER_SECONDS: u64 = 30;
const NAME_CHARS_MAX: usize = 200;
const CLOUDFLARE: HeaderName = HeaderName::from_static("cf-access-jwt-assertion");
/// Who verifies these can't sign. With `HS256` a public key would be the secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

#[derive(Debug)]
pub struct Jwt {
    place: Place,
    audiences: Vec<String>,
    issuer: Option<String>,
    header: Option<HeaderName>,
    keys: Mutex<Keys>,
}

/// Where the public keys are: a JWKS.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Url(Uri),
}

#[derive(Default)]
struct Keys {
    set: JwkSet,
    /// The last try, whether it succeeded or not.
    tried: Option<Instant>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("many", &self.set.keys.len()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Claims {
    email: Option<String>,
    email_verified: Value,
    sub: Option<String>,
    #[serde(alias = "cognito:groups")]
    groups: Value,
    /// Cloudflare Access has the provider's claims in here.
    custom: Value,
}

impl Jwt {
    /// `place` is a file, or an address with https.
    pub fn new(
        place: &str,
        audiences: Vec<String>,
        issuer: Option<String>,
        header: Option<HeaderName>,
    ) -> Result<Self, String> {
        let place = match place.split_once("://") {
            None => Place::File(PathBuf::from(place)),
            Some(("https", _)) => Place::Url(place.parse().map_err(|error| format!("{place}: {error}"))?),
            Some(_) => return Err(format!("{place}: keys are fetched by https, or read from a file")),
        };
        Ok(Self { place, audiences, issuer, header, keys: Mutex::default() })
    }

    /// Reads the keys: whether they can be read at all.
    pub async fn check(&self) -> Result<(), String> {
        let mut keys = self.keys.lock().await;
        keys.tried = Some(Instant::now());
        keys.set = self.read().await?;
        Ok(())
    }

    pub(crate) async fn viewer(&self, headers: &HeaderMap) -> Option<Viewer> {
        let token = self.token(headers)?;
        // An extension that must be understood is not.
        let head = decode_header(token).ok().filter(|head| head.crit.is_none())?;
        let key = self.key(head.kid.as_deref()?).await?;
        verified(token, head.alg, &key, &self.audiences, self.issuer.as_deref())
    }

    /// Of two with one name, one may have come from the browser.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let only = |name: &HeaderName| {
            let mut all = headers.get_all(name).iter();
            let (only, None) = (all.next()?, all.next()) else { return None };
            only.to_str().ok().map(str::trim)
        };
        let bearer = |text: &'a str| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        match &self.header {
            Some(name) => only(name).map(|text| bearer(text).unwrap_or(text)),
            None if headers.contains_key(CLOUDFLARE) => only(&CLOUDFLARE),
            None => only(&AUTHORIZATION).and_then(bearer),
        }
    }

    async fn key(&self, kid: &str) -> Option<Jwk> {
        let mut keys = self.keys.lock().await;
        let known = keys.set.find(kid).cloned();
        let age = keys.tried.map(|tried| tried.elapsed());
        let is_due = age.is_none_or(|age| age >= if known.is_some() { KEPT } else { AGAIN });
        if !is_due {
            return known;
        }
        keys.tried = Some(Instant::now());
        match self.read().await {
            Ok(set) => keys.set = set,
            // Those that are known serve until the provider answers.
            Err(why) => eprintln!("warning: {why}"),
        }
        keys.set.find(kid).cloned()
    }

    async fn read(&self) -> Result<JwkSet, String> {
        let text = match &self.place {
            Place::File(file) => {
                std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?
            }
            Place::Url(url) => fetch::fetch(url).await.map_err(|why| format!("the keys of {url}: {why}"))?,
        };
        serde_json::from_slice(&text).map_err(|error| format!("the keys are no JWKS: {error}"))
    }
}

/// Pure, but for the clock: whose token it is, if it is valid.
fn verified(
    token: &str,
    algorithm: Algorithm,
    key: &Jwk,
    audiences: &[String],
    issuer: Option<&str>,
) -> Option<Viewer> {
    let is_meant = key.common.key_algorithm.is_none_or(|meant| meant.to_string() == format!("{algorithm:?}"));
    if !ALGORITHMS.contains(&algorithm) || !is_meant {
        return None;
    }
    let mut valid = Validation::new(algorithm);
    valid.leeway = CLOCKS_DIFFER_SECONDS;
    valid.validate_nbf = true;
    valid.set_audience(audiences);
    let mut needed = vec!["exp", "aud"];
    if let Some(issuer) = issuer {
        valid.set_issuer(&[issuer]);
        needed.push("iss");
    }
    valid.set_required_spec_claims(&needed);
    let key = DecodingKey::from_jwk(key).ok()?;
    let claims = decode::<Claims>(token, &key, &valid).ok()?.claims;
    // An unchecked address may be that of another person.
    let is_checked = claims.email_verified != json!(false) && claims.email_verified != json!("false");
    let name = claims.email.filter(|_| is_checked).or(claims.sub)?;
    let is_name = !name.trim().is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    let groups = texts(&claims.groups).chain(texts(&claims.custom["groups"])).collect();
    is_name.then(|| Viewer { name, groups, ..Viewer::default() })
}

/// A list of texts, or one.
fn texts(claim: &Value) -> impl Iterator<Item = String> {
    let one = claim.as_str().map(str::to_owned);
    let many = claim.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned));
    one.into_iter().chain(many)
}

#[cfg(test)]
mod tests;
