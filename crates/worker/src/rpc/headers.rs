//! Which of an event's headers travel to its RPC.
//!
//! Proxies and services read the caller and the route from headers, if they trust the sender's address, such as a worker's. So
//! a header travels only if it is known to have neither: those of traces, and those with a prefix from the operator.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::{Counter, counter};
use outbox_runtime::Guarded;

use super::prefix::{HeaderPrefix, is_name, reserved};

/// Marks a message that `outbox replay` made; no event can be enqueued with it.
pub(crate) const REPLAY: &str = "outbox-replay";
/// W3C's Trace Context and Baggage.
const ALWAYS: [&str; 4] = ["traceparent", "tracestate", "baggage", REPLAY];

/// As many as can be enqueued. A row that was written without `enqueue` may have more, and `HeaderMap` has a limit.
const BYTES_MAX: usize = 8192;
/// So many names are logged for each RPC, and remembered.
const SAID_MAX: usize = 32;

/// Whether a header of an event travels; if not, whether a prefix could permit it.
fn travels(name: &str, prefixes: &[HeaderPrefix]) -> Result<(), Withheld> {
    if ALWAYS.contains(&name) {
        return Ok(());
    }
    // In gRPC the value of such a name is base64.
    if !is_name(name) || name.ends_with("-bin") || reserved(name).is_some() {
        return Err(Withheld::Always);
    }
    match prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
        true => Ok(()),
        false => Err(Withheld::UntilAllowed),
    }
}

/// Why a header does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withheld {
    UntilAllowed,
    Always,
}

/// The headers of one RPC's events.
#[derive(Debug)]
pub(super) struct Headers {
    rpc: String,
    prefixes: Arc<[HeaderPrefix]>,
    /// The names that were logged.
    said: Guarded<HashSet<String>>,
}

impl Headers {
    pub(super) fn new(rpc: &str, prefixes: &Arc<[HeaderPrefix]>) -> Self {
        Self { rpc: rpc.to_owned(), prefixes: Arc::clone(prefixes), said: Guarded::default() }
    }

    /// The headers that travel. Any other is counted, and its name is logged once.
    pub(super) fn of(&self, event: &BTreeMap<String, String>) -> HeaderMap {
        let (mut headers, mut bytes, mut withheld) = (HeaderMap::new(), 0, 0);
        for (name, value) in event {
            bytes += name.len() + value.len();
            // Checked at enqueue. A row that was written without it must not stop the call.
            let fits = bytes <= BYTES_MAX && value.bytes().all(|b| (0x20..=0x7e).contains(&b));
            let parsed = HeaderName::from_str(name).ok().zip(HeaderValue::from_str(value).ok());
            match (travels(name, &self.prefixes), parsed.filter(|_| fits)) {
                (Ok(()), Some((name, value))) => {
                    headers.insert(name, value);
                }
                (Ok(()), None) => withheld += 1,
                (Err(why), _) => {
                    withheld += 1;
                    self.say(name, why);
                }
            }
        }
        if withheld > 0 {
            withheld_of(&self.rpc).increment(withheld);
        }
        headers
    }

    fn say(&self, name: &str, why: Withheld) {
        let name: String = name.chars().take(64).collect();
        let rpc = &self.rpc;
        let nth = {
            let mut said = self.said.lock();
            if said.len() > SAID_MAX || !said.insert(name.clone()) {
                return;
            }
            said.len()
        };
        match why {
            _ if nth > SAID_MAX => {
                tracing::warn!(rpc, "more of its events' headers do not travel, and are only counted");
            }
            Withheld::UntilAllowed => {
                tracing::warn!(rpc, header = ?name, "an event's header does not travel to its RPC: --header-prefix says which ones do");
            }
            Withheld::Always => {
                tracing::warn!(rpc, header = ?name, "an event's header does not travel to its RPC, and no --header-prefix allows it: such names tell the caller, the route, or how to call");
            }
        }
    }
}

pub(crate) fn withheld_of(rpc: &str) -> Counter {
    counter!("outbox_worker_withheld_headers_total", "rpc" => rpc.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::prefix::reserved_words;
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<HeaderPrefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Guards SECURITY.md: only headers without caller and route travel, and those that the operator permits. No prefix makes a
    /// reserved name travel.
    #[test]
    fn only_what_may_travels() {
        let own = prefixes(&["acme-", "tenant-", "te2-"]);
        for name in
            ["traceparent", "tracestate", "baggage", "outbox-replay", "acme-tenant", "tenant-id", "te2-a"]
        {
            assert_eq!(travels(name, &own), Ok(()), "{name}");
        }
        for name in ["tenant", "acme", "acmetenant", "traceparent2", "b3", "tenan-id"] {
            assert_eq!(travels(name, &own), Err(Withheld::UntilAllowed), "{name}");
        }
        // Forged names, names of every family, and what a row without `enqueue` may hold.
        for name in [
            "x-api-key",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x-goog-authenticated-user-email",
            "x-amzn-oidc-data",
            "x-envoy-original-path",
            "x-envoy-upstream-rq-timeout-ms",
            "x-http-method-override",
            "x-real-ip",
            "x",
            "forwarded",
            "via",
            "expect",
            "host",
            "te",
            "range",
            "if-match",
            "cf-connecting-ip",
            "true-client-ip",
            "client-cert-chain",
            "client-ip",
            "l5d-client-id",
            "dapr-app-id",
            "impersonate-user",
            "remote-user",
            "authorization",
            "proxy-authorization",
            "cookie",
            "connection",
            "content-length",
            "transfer-encoding",
            "grpc-timeout",
            "outbox-event-id",
            "idempotency-key",
            "user-agent",
            "acme-key-bin",
            "Acme-tenant",
            "acme-é",
            "acme- tenant",
            "acme_tenant",
            "TRACEPARENT",
            "",
        ] {
            assert_eq!(travels(name, &own), Err(Withheld::Always), "{name}");
        }
    }

    /// Guards promise 7: no headers of an event stop the call. What travels is bounded, and so are the remembered names.
    #[test]
    fn many_headers_are_bounded() {
        let own: Arc<[HeaderPrefix]> = prefixes(&["acme-"]).into();
        let headers = Headers::new("Test/One", &own);
        let many = |prefix: &str| (0..40_000).map(|n| (format!("{prefix}{n}"), "v".to_owned())).collect();
        let travelling = headers.of(&many("acme-"));
        let bytes: usize = travelling.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!((BYTES_MAX - 20..=BYTES_MAX).contains(&bytes), "{bytes}");
        assert!(headers.of(&many("n")).is_empty());
        assert_eq!(headers.said.lock().len(), SAID_MAX + 1);
        let odd = [("acme-a", "é"), ("acme-b", "a\r\nx-api-key: 1"), ("acme-c", "c"), ("a b", "d")];
        let odd = odd.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers.of(&odd.into()).keys().collect::<Vec<_>>(), ["acme-c"]);
    }

    proptest! {
        /// Guards SECURITY.md: no accepted prefix makes a reserved name travel, whatever follows the prefix.
        #[test]
        fn no_accepted_prefix_lets_a_reserved_name_through(
            text in prop_oneof![
                "[a-z][a-z0-9-]{1,8}-",
                prop::sample::select(reserved_words().collect::<Vec<_>>()).prop_flat_map(|(word, _)| (0..=word.len(), "[a-z-]{0,3}")
                    .prop_map(move |(cut, more)| format!("{}{more}-", &word[..cut]))),
            ],
            rest in "[a-z0-9-]{0,12}",
            word in prop::sample::select(reserved_words().collect::<Vec<_>>()),
        ) {
            let Ok(prefix) = text.parse::<HeaderPrefix>() else { return Ok(()) };
            let own = [prefix];
            let name = format!("{text}{rest}");
            prop_assert!(reserved(&name).is_none(), "{}", name);
            prop_assert_eq!(travels(&name, &own).is_ok(), !name.ends_with("-bin"));
            for name in [word.0.to_owned(), format!("{}-{rest}", word.0)] {
                prop_assert!(travels(&name, &own).is_err() || ALWAYS.contains(&name.as_str()), "{}", name);
            }
        }
    }
}
