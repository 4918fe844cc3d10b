//! Where the services are, by the developer.

use std::collections::BTreeMap;
use std::str::FromStr;

use outbox_event_router::Router;
use outbox_finding::closest;
use outbox_worker::rpc::Endpoint;

/// Stands for the address of a service that has none. No call is made there: that name never exists (RFC 6761).
const NOWHERE: &str = "http://outbox-dev.invalid";

/// The address of one service, or of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    One(Endpoint),
    Others(String),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !["http://", "https://", "h2c://"].iter().any(|scheme| text.starts_with(scheme)) {
            return text
                .parse()
                .map(Self::One)
                .map_err(|error: outbox_worker::rpc::EndpointError| error.to_string());
        }
        let endpoint: Endpoint = format!("services={text}")
            .parse()
            .map_err(|error: outbox_worker::rpc::EndpointError| error.to_string())?;
        Ok(Self::Others(endpoint.url))
    }
}

/// The services that a router calls, each with its address. `None`: it has no address, so its events wait.
pub(super) type Services = BTreeMap<String, Option<String>>;

pub(super) fn services(router: &Router, tos: &[To]) -> Services {
    let address = |service: &str| {
        let own = tos.iter().rev().find_map(|to| match to {
            To::One(endpoint) if is_same(&endpoint.service, service) => Some(endpoint.url.clone()),
            To::One(_) | To::Others(_) => None,
        });
        own.or_else(|| {
            tos.iter().rev().find_map(|to| match to {
                To::Others(url) => Some(url.clone()),
                To::One(_) => None,
            })
        })
    };
    let called = router.rpcs().map(|(rpc, _)| router.called(rpc).service());
    called.map(|service| (service.to_owned(), address(service))).collect()
}

pub(super) fn endpoints(services: &Services) -> Vec<Endpoint> {
    let endpoint = |(service, url): (&String, &Option<String>)| Endpoint {
        service: service.clone(),
        url: url.clone().unwrap_or_else(|| NOWHERE.to_owned()),
    };
    services.iter().map(endpoint).collect()
}

/// Addresses of services that event_router.yaml does not have, with a service that may be meant.
pub(super) fn strays<'t>(services: &'t Services, tos: &'t [To]) -> Vec<(&'t str, Option<&'t str>)> {
    let ones = tos.iter().filter_map(|to| match to {
        To::One(endpoint) => Some(endpoint.service.as_str()),
        To::Others(_) => None,
    });
    let is_stray = |name: &&str| !services.keys().any(|service| is_same(name, service));
    ones.filter(is_stray).map(|name| (name, closest(name, services.keys().map(String::as_str)))).collect()
}

/// One of the two may leave out its package.
fn is_same(one: &str, other: &str) -> bool {
    let ends =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|package| package.ends_with('.'));
    one == other || ends(one, other) || ends(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: NotifyService/Notify
      - id: acme.v1.LedgerService/Record
";

    /// Guards: `--to` names one service, with or without its package, or all that no other `--to` names.
    #[test]
    fn each_service_has_the_address_that_is_meant() {
        let router = Router::parse("r.yaml", ROUTER).unwrap();
        let of = |tos: &[&str]| {
            let tos: Vec<To> = tos.iter().map(|to| to.parse().unwrap()).collect();
            let services = services(&router, &tos);
            ["NotifyService", "acme.v1.LedgerService"].map(|service| services[service].clone())
        };
        let url = |url: &str| Some(url.to_owned());
        assert_eq!(of(&[]), [None, None]);
        assert_eq!(of(&["http://a:1"]), [url("http://a:1"), url("http://a:1")]);
        assert_eq!(of(&["LedgerService=h2c://b:2"]), [None, url("h2c://b:2")]);
        assert_eq!(of(&["LedgerService=http://b:2", "http://a:1"]), [url("http://a:1"), url("http://b:2")]);
        assert_eq!(of(&["NotifyService=http://a:1", "NotifyService=http://a:2"]), [url("http://a:2"), None]);
    }

    /// Guards: an RPC that keeps the queue of another package has the address of the service that is called.
    #[test]
    fn a_moved_rpc_has_the_address_of_its_new_service() {
        let moved = "event:\n  - name: event_one\n    subscriber: [{ id: a.v2.NotifyService/Notify, queue: a.v1.NotifyService/Notify }]\n";
        let router = Router::parse("r.yaml", moved).unwrap();
        let tos: Vec<To> = ["a.v2.NotifyService=http://a:1".parse().unwrap()].to_vec();
        let services = services(&router, &tos);
        assert_eq!(services["a.v2.NotifyService"].as_deref(), Some("http://a:1"));
        assert_eq!((services.len(), strays(&services, &tos)), (1, Vec::new()));
    }

    /// Guards: a misspelt `--to` is named, with the service that may be meant.
    #[test]
    fn a_misspelt_service_is_named() {
        let router = Router::parse("r.yaml", ROUTER).unwrap();
        let tos: Vec<To> = ["NotifyServise=http://a:1", "http://b:2"].map(|to| to.parse().unwrap()).to_vec();
        let services = services(&router, &tos);
        assert_eq!(strays(&services, &tos), [("NotifyServise", Some("NotifyService"))]);
        for (text, expected) in [("NotifyService", "write SERVICE=URL"), ("http://", "is not http://")] {
            assert!(text.parse::<To>().unwrap_err().contains(expected), "{text}");
        }
    }
}
