//! The prefixes that the names of an event's headers may have, and may not.

use std::fmt;
use std::str::FromStr;

/// No name that is one of these, or begins with one and a dash, ever travels. Each has its reason.
pub(super) const RESERVED: [(&str, &str); 83] = [
    ("x", "proxies, meshes, clouds and gateways name the caller in it"),
    // The caller.
    ("api-key", CREDENTIALS),
    ("apikey", CREDENTIALS),
    ("auth", CREDENTIALS),
    ("authentication", CREDENTIALS),
    ("authorization", CREDENTIALS),
    ("client", CALLER),
    ("client-cert", CALLER),
    ("cookie", CREDENTIALS),
    ("cookie2", CREDENTIALS),
    ("dpop", CREDENTIALS),
    ("from", CALLER),
    ("impersonate", CALLER),
    ("jwt", CREDENTIALS),
    ("oidc", CALLER),
    ("origin", CALLER),
    ("referer", CALLER),
    ("remote", CALLER),
    ("saml", CALLER),
    ("set-cookie", CREDENTIALS),
    ("shib", CALLER),
    ("signature", CREDENTIALS),
    ("signature-input", CREDENTIALS),
    ("ssl", CALLER),
    ("tls", CALLER),
    ("token", CREDENTIALS),
    ("true-client-ip", CALLER),
    ("user", CALLER),
    ("www", CREDENTIALS),
    // The route.
    ("akamai", PROXY),
    ("alt", ROUTE),
    ("amz", PROXY),
    ("appengine", PROXY),
    ("aws", PROXY),
    ("azure", PROXY),
    ("cdn", PROXY),
    ("cf", PROXY),
    ("cloudfront", PROXY),
    ("consul", PROXY),
    ("dapr", PROXY),
    ("destination", ROUTE),
    ("ec2", PROXY),
    ("edge", PROXY),
    ("envoy", PROXY),
    ("fastly", PROXY),
    ("fly", PROXY),
    ("forwarded", ROUTE),
    ("gcp", PROXY),
    ("goog", PROXY),
    ("google", PROXY),
    ("host", ROUTE),
    ("istio", PROXY),
    ("k", PROXY),
    ("knative", PROXY),
    ("kong", PROXY),
    ("kuma", PROXY),
    ("l5d", PROXY),
    ("linkerd", PROXY),
    ("max-forwards", ROUTE),
    ("nginx", PROXY),
    ("proxy", PROXY),
    ("traefik", PROXY),
    ("via", ROUTE),
    // The call itself.
    ("accept", HTTP),
    ("access", HTTP),
    ("cache", HTTP),
    ("connect", CALL),
    ("connection", HTTP),
    ("content", HTTP),
    ("early-data", HTTP),
    ("expect", HTTP),
    ("grpc", CALL),
    ("http2", HTTP),
    ("idempotency", CALL),
    ("if", HTTP),
    ("keep-alive", HTTP),
    ("outbox", CALL),
    ("range", HTTP),
    ("sec", HTTP),
    ("te", HTTP),
    ("trailer", HTTP),
    ("transfer", HTTP),
    ("upgrade", HTTP),
];

const CREDENTIALS: &str = "it is for credentials";
const CALLER: &str = "servers read the caller from it";
const PROXY: &str = "proxies, meshes or clouds trust what it says";
const ROUTE: &str = "it tells the route of a call";
const HTTP: &str = "it is HTTP's own";
const CALL: &str = "the call itself sets it";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPrefix(String);

impl HeaderPrefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HeaderPrefix {
    type Err = HeaderPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(word) =
            text.strip_suffix('-').filter(|word| is_name(word) && (2..=32).contains(&word.len()))
        else {
            return Err(HeaderPrefixError::Malformed);
        };
        if let Some((reserved, why)) = reserved(word) {
            return Err(HeaderPrefixError::Within { prefix: text.to_owned(), reserved, why });
        }
        let covered = |name: &&str| name.starts_with(text);
        if let Some((reserved, why)) = RESERVED.into_iter().find(|(name, _)| covered(name)) {
            return Err(HeaderPrefixError::Covers { prefix: text.to_owned(), reserved, why });
        }
        Ok(Self(text.to_owned()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderPrefixError {
    #[error(
        "write lower-case letters, digits and dashes, beginning with a letter and ending in a dash, 3 to 33 of them: acme-"
    )]
    Malformed,
    #[error(
        "`{prefix}` is refused, as what begins with `{reserved}` never travels: {why}; use a name of your own, as acme-"
    )]
    Within { prefix: String, reserved: &'static str, why: &'static str },
    #[error(
        "`{prefix}` is refused, as `{reserved}` begins with it and never travels: {why}; use a name of your own, as acme-"
    )]
    Covers { prefix: String, reserved: &'static str, why: &'static str },
}

/// The reserved word that a name is, or begins with.
pub(super) fn reserved(name: &str) -> Option<(&'static str, &'static str)> {
    let begins =
        |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    RESERVED.into_iter().find(|(word, _)| begins(word))
}

pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a prefix that could let a reserved name through is refused at start, with the reason and the remedy.
    #[test]
    fn dangerous_prefixes_are_refused() {
        for text in ["acme-", "tenant-", "ab-", "my-app-", "a1-", "expected-", "hosting-", "xa-", "secret-"] {
            assert_eq!(text.parse::<HeaderPrefix>().unwrap().as_str(), text);
        }
        for text in ["", "-", "a-", "acme", "Acme-", "acme_-", "1a-", "acme -", "é-", "a\n-", "*-"] {
            assert_eq!(text.parse::<HeaderPrefix>(), Err(HeaderPrefixError::Malformed), "{text:?}");
        }
        assert_eq!(format!("{}-", "a".repeat(33)).parse::<HeaderPrefix>(), Err(HeaderPrefixError::Malformed));
        for (text, expected) in [
            ("x-acme-", "what begins with `x` never travels"),
            ("x-forwarded-", "what begins with `x`"),
            ("authorization-", "credentials"),
            ("cf-", "proxies"),
            ("te-", "HTTP"),
            ("content-acme-", "HTTP"),
            ("outbox-", "the call itself sets it"),
            ("api-", "`api-key` begins with it"),
            ("true-", "`true-client-ip` begins with it"),
            ("max-", "`max-forwards` begins with it"),
            ("keep-", "`keep-alive` begins with it"),
        ] {
            let said = text.parse::<HeaderPrefix>().unwrap_err().to_string();
            assert!(said.contains(expected) && said.contains("acme-"), "{text}: {said}");
        }
    }
}
