use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use outbox_event_router::Router;
use tokio::net::TcpStream;

use super::diagnosis::Diagnosis;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const WRITE: &str = "write SERVICE=URL, as in NotificationService=http://notification:8080";

/// Whether every service that is called has an address, and a server listens there.
pub(super) async fn look(endpoints: &[String], router: Option<&Router>) -> Vec<Diagnosis> {
    let endpoints: Vec<&String> = endpoints.iter().filter(|endpoint| !endpoint.is_empty()).collect();
    if endpoints.is_empty() {
        return vec![Diagnosis::skipped(
            "services",
            "not connected to",
            "pass --endpoint SERVICE=URL, as the worker has it",
        )];
    }
    let (mut findings, mut addresses) = (Vec::new(), BTreeMap::new());
    for endpoint in endpoints {
        match address(endpoint) {
            Some((service, address)) => {
                addresses.insert(service, address);
            }
            None => findings.push(Diagnosis::error(endpoint, "that is no service's address", WRITE)),
        }
    }
    if let Some(router) = router {
        let called: BTreeSet<&str> = router.rpcs().map(|(rpc, _)| router.called(rpc).service()).collect();
        for service in called.iter().filter(|service| !addresses.contains_key(**service)) {
            let message = "event_router.yaml calls it, and no --endpoint says where it is";
            findings.push(Diagnosis::error(service, message, "the worker will not start without it"));
        }
        for service in addresses.keys().filter(|service| !called.contains(**service)) {
            let hint = match outbox_finding::closest(service, called.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "is the name that of event_router.yaml?".to_owned(),
            };
            findings.push(Diagnosis::warning(service, "it has an address, and no route calls it", hint));
        }
    }
    findings
        .extend(join_all(addresses.into_iter().map(|(service, address)| connect(service, address))).await);
    findings
}

async fn connect(service: &str, address: String) -> Diagnosis {
    let problem = match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => return Diagnosis::ok(service, format!("{address} accepts connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", CONNECT_WITHIN.as_secs()),
    };
    let hint = "is it up, and is that its name and port as seen from here? Until then its deliveries wait";
    Diagnosis::error(service, format!("can't connect to {address}: {problem}"), hint)
}

/// The service, and the host and port behind its URL.
fn address(endpoint: &str) -> Option<(&str, String)> {
    let (service, url) = endpoint.split_once('=')?;
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "http" | "h2c" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority =
        rest.split('/').next().filter(|authority| !authority.is_empty() && !authority.contains('@'))?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let is_host = !authority.contains(':') || authority.ends_with(']');
    let address = match (has_port, is_host) {
        (true, _) => authority.to_owned(),
        (false, true) => format!("{authority}:{port}"),
        (false, false) => return None,
    };
    (!service.is_empty() && !service.contains('/')).then_some((service, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an address is read as the worker reads it.
    #[test]
    fn addresses_have_a_service_and_a_port() {
        for (endpoint, expected) in [
            ("A=http://a:8080", Some(("A", "a:8080"))),
            ("a.v1.A=https://a.internal/base", Some(("a.v1.A", "a.internal:443"))),
            ("A=h2c://[::1]:50051", Some(("A", "[::1]:50051"))),
            ("A=http://[::1]", Some(("A", "[::1]:80"))),
            ("A=http://a", Some(("A", "a:80"))),
            ("A=a:8080", None),
            ("A=http://me:secret@a:1", None),
            ("A=http://", None),
            ("A=http://a:port", None),
            ("http://a:1", None),
            ("=http://a:1", None),
            ("A/B=http://a:1", None),
        ] {
            let found = address(endpoint);
            assert_eq!(
                found.as_ref().map(|(service, address)| (*service, address.as_str())),
                expected,
                "{endpoint}"
            );
        }
    }
}
