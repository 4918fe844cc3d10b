//! The prefixes that the names of an event's headers may have, and may not.

use std::fmt;
use std::str::FromStr;

/// No name that is one of these words, or begins with one and a dash, ever travels. Each group has its reason.
const RESERVED: [(&str, &str); 7] = [
    ("x", "proxies, meshes, clouds and gateways name the caller in it"),
    (
        "api-key apikey auth authentication authorization cookie cookie2 dpop jwt set-cookie signature \
         signature-input token www",
        "it is for credentials",
    ),
    (
        "client client-cert from impersonate oidc origin referer remote saml shib ssl tls true-client-ip \
         user",
        "servers read the caller from it",
    ),
    (
        "akamai amz appengine aws azure cdn cf cloudfront consul dapr ec2 edge envoy fastly fly gcp goog \
         google istio k knative kong kuma l5d linkerd nginx proxy traefik",
        "proxies, meshes or clouds trust what it says",
    ),
    ("alt destination forwarded host max-forwards via", "it tells the route of a call"),
    (
        "accept access cache connection content early-data expect http2 if keep-alive range sec te \
         trailer transfer upgrade",
        "it is HTTP's own",
    ),
    ("connect grpc idempotency outbox", "the call itself sets it"),
];

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
        if let Some((reserved, why)) = reserved_words().find(|(name, _)| covered(name)) {
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

/// Every reserved word, with its reason.
pub(super) fn reserved_words() -> impl Iterator<Item = (&'static str, &'static str)> {
    RESERVED.into_iter().flat_map(|(words, why)| words.split(' ').map(move |word| (word, why)))
}

/// The reserved word that a name is, or begins with.
pub(super) fn reserved(name: &str) -> Option<(&'static str, &'static str)> {
    let begins =
        |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    reserved_words().find(|(word, _)| begins(word))
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
