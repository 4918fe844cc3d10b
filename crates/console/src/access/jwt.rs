//! Signed tokens of an identity provider: Cloudflare Access, or a proxy that passes the token on. The signature says who asks, so
//! no network needs to be trusted.

mod keys; // of the provider

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::Viewer;
use keys::{Keys, Place};

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
    header: Option<HeaderName>,
    rules: Rules,
    keys: Arc<Keys>,
}

/// The claim that names a viewer. It is always the same one: with two, one person would have two names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JwtName {
    /// An address that the provider has checked.
    #[default]
    Email,
    Subject,
}

/// What a token must say.
#[derive(Debug)]
struct Rules {
    audiences: Vec<String>,
    issuer: Option<String>,
    name: JwtName,
    /// An address counts as checked if the token does not say whether it is. An issuer, or Cloudflare Access, stands for that.
    trusts_addresses: bool,
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
        name: JwtName,
    ) -> Result<Self, String> {
        let place = Place::parse(place)?;
        let trusts_addresses = issuer.is_some() || place.is_of_cloudflare();
        let rules = Rules { audiences, issuer, name, trusts_addresses };
        Ok(Self { header, rules, keys: Keys::new(place) })
    }

    /// Reads the keys: whether they can be read at all.
    pub async fn check(&self) -> Result<(), String> {
        self.keys.read().await
    }

    pub(crate) async fn viewer(&self, headers: &HeaderMap) -> Option<Viewer> {
        let token = self.token(headers)?;
        // An extension that must be understood is not.
        let head = decode_header(token).ok().filter(|head| head.crit.is_none())?;
        let key = self.keys.find(head.kid.as_deref()?).await?;
        verified(token, head.alg, &key, &self.rules)
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
}

/// Pure, but for the clock: whose token it is, if it is valid.
fn verified(token: &str, algorithm: Algorithm, key: &Jwk, rules: &Rules) -> Option<Viewer> {
    let is_meant = key.common.key_algorithm.is_none_or(|meant| meant.to_string() == format!("{algorithm:?}"));
    if !ALGORITHMS.contains(&algorithm) || !is_meant {
        return None;
    }
    let mut valid = Validation::new(algorithm);
    valid.leeway = CLOCKS_DIFFER_SECONDS;
    valid.validate_nbf = true;
    valid.set_audience(&rules.audiences);
    let mut needed = vec!["exp", "aud"];
    if let Some(issuer) = &rules.issuer {
        valid.set_issuer(&[issuer]);
        needed.push("iss");
    }
    valid.set_required_spec_claims(&needed);
    let key = DecodingKey::from_jwk(key).ok()?;
    let claims = decode::<Claims>(token, &key, &valid).ok()?.claims;
    let groups = texts(&claims.groups).chain(texts(&claims.custom["groups"])).collect();
    let name = named(&claims, rules)?.to_owned();
    let subject = claims.sub.filter(|subject| !subject.trim().is_empty());
    Some(Viewer { name, groups, subject, ..Viewer::default() })
}

/// Pure: by the claim that names viewers here, and by no other. An unchecked address may be that of another person.
fn named<'a>(claims: &'a Claims, rules: &Rules) -> Option<&'a str> {
    let is_checked = match &claims.email_verified {
        Value::Null => rules.trusts_addresses,
        Value::Bool(is_checked) => *is_checked,
        text => text == "true",
    };
    let name = match rules.name {
        JwtName::Email => claims.email.as_deref().filter(|_| is_checked),
        JwtName::Subject => claims.sub.as_deref(),
    };
    name.filter(|name| {
        !name.trim().is_empty()
            && name.chars().count() <= NAME_CHARS_MAX
            && !name.chars().any(char::is_control)
    })
}

/// A list of texts, or one.
fn texts(claim: &Value) -> impl Iterator<Item = String> {
    let one = claim.as_str().map(str::to_owned);
    let many = claim.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned));
    one.into_iter().chain(many)
}

#[cfg(test)]
mod tests;
