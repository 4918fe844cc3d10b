//! Checks routes against descriptors: every event exists, and every RPC can take it.

use std::collections::BTreeMap;

use outbox_contract::{Contract, EventType, RpcError, carrier};
use outbox_event_router::{Route, Router};
use outbox_finding::{Finding, Place, closest};
use prost_reflect::MethodDescriptor;

use super::older::Older;

pub(crate) fn check(router: &Router, contract: &Contract, older: Option<&Older>) -> Vec<Finding> {
    let mut findings = events(router, contract, older);
    let mut names = Names::default();
    for route in router.routes() {
        match contract.rpc(route.called.as_str()) {
            Err(error) => {
                let hint = unknown_rpc_hint(&error, &route, older);
                findings.push(Finding::error(route.place.clone(), error.to_string(), hint));
            }
            Ok(method) => {
                findings.extend(names.one_for(&route, &method, older));
                findings.extend(contract.event(route.event).and_then(|event| fits(&route, event, &method)));
            }
        }
    }
    findings
}

fn events(router: &Router, contract: &Contract, older: Option<&Older>) -> Vec<Finding> {
    let unknown =
        router.events().filter(|(name, _)| contract.event(name).is_none() && !contract.is_unpaired(name));
    let finding = |(name, place): (&str, &Place)| {
        let hint = unknown_event_hint(name, router, contract, older);
        let whose = router.package(name).map_or("proto".to_owned(), |package| format!("package {package}"));
        Finding::error(place.clone(), format!("there is no event '{name}' in {whose}"), hint)
    };
    unknown.map(finding).collect()
}

/// Only for a file without mistakes: otherwise it is unknown which events have subscribers.
pub(crate) fn without_subscriber(router: &Router, contract: &Contract) -> Vec<Finding> {
    let listed: BTreeMap<&str, &Place> = router.events().collect();
    // If a name is misspelt, the missing subscriber of its event needs no report.
    let meant: Vec<&str> = listed
        .keys()
        .filter(|name| contract.event(name).is_none())
        .filter_map(|name| similar_event(name, router, contract))
        .collect();
    let mut findings = Vec::new();
    for event in contract.events().filter(|event| router.subscribers(&event.name).is_empty()) {
        let message = format!("'{}' has no subscriber", event.name);
        if let Some(place) = listed.get(event.name.as_str()) {
            let hint = "add the RPC that should run; until then the event is published and goes nowhere";
            findings.push(Finding::warning((*place).clone(), message, hint));
        } else if !meant.contains(&event.name.as_str()) {
            let hint = format!("add it to event_router.yaml: - name: '{}'", event.name);
            findings.push(Finding::warning(event.place.clone(), message, hint));
        }
    }
    findings
}

/// An event that is not listed under its own name, and so may be meant.
fn similar_event<'c>(name: &str, router: &Router, contract: &'c Contract) -> Option<&'c str> {
    let unlisted = contract.events().filter(|event| !router.lists(&event.name));
    closest(name, unlisted.map(|event| event.name.as_str()))
}

/// What to write for an RPC that proto does not have. The queue that it has already stays.
fn unknown_rpc_hint(error: &RpcError, route: &Route<'_>, older: Option<&Older>) -> String {
    if let (RpcError::AmbiguousService { .. }, Some(older)) = (error, older)
        && let Ok(method) = older.contract.rpc(older.router.called(route.rpc).as_str())
    {
        let id = format!("{}/{}", method.parent_service().full_name(), method.name());
        return format!("in {} it was this one: write id: '{id}' and queue: '{}'", older.name, route.rpc);
    }
    let hint = error.hint(route.rpc.as_str());
    let has_queue = older.is_some_and(|older| older.router.has(route.rpc));
    match (error, has_queue) {
        (RpcError::UnknownService { .. } | RpcError::UnknownMethod { .. }, true) => {
            format!("{hint}, with queue: '{}' beside it, so that its queue stays", route.rpc)
        }
        _ => hint,
    }
}

fn unknown_event_hint(name: &str, router: &Router, contract: &Contract, older: Option<&Older>) -> String {
    if let Some(package) = contract.left_out(name) {
        return format!("package {package} has it: write package: '{package}' beside the name");
    }
    if let Some(older) = older.filter(|older| older.contract.event(name).is_some()) {
        return format!(
            "it was there in {}, and events in flight still need it: put it back until its queues are empty, then remove its subscribers first",
            older.name
        );
    }
    match similar_event(name, router, contract) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => {
            let value = name.to_ascii_uppercase();
            let value = if value.starts_with("EVENT_") { value } else { format!("EVENT_{value}") };
            format!("add the value {value} to `enum Event`, and its message beside it")
        }
    }
}

fn fits(route: &Route<'_>, event: &EventType, method: &MethodDescriptor) -> Option<Finding> {
    let error = carrier(&method.input(), &event.message).err()?;
    let message = format!("'{}' can't take '{}': {error}", route.rpc, route.event);
    Some(Finding::error(route.place.clone(), message, error.hint()))
}

/// A queue and a dedup record belong to a name, so an RPC must have only one.
#[derive(Default)]
struct Names<'a>(BTreeMap<String, Route<'a>>);

impl<'a> Names<'a> {
    fn one_for(
        &mut self,
        route: &Route<'a>,
        method: &MethodDescriptor,
        older: Option<&Older>,
    ) -> Option<Finding> {
        let first = *self.0.entry(method.full_name().to_owned()).or_insert(*route);
        if first.rpc == route.rpc {
            return None;
        }
        // The name that has a queue already stays.
        let stays = |route: &Route<'_>| older.is_some_and(|older| older.router.has(route.rpc));
        let (wrong, right) = if stays(route) && !stays(&first) { (&first, route) } else { (route, &first) };
        let message =
            format!("'{}' is the same RPC as '{}' on line {}", wrong.called, right.called, right.place.line);
        let written = match right.rpc == right.called {
            true => format!("'{}'", right.rpc),
            false => format!("id: '{}' and queue: '{}'", right.called, right.rpc),
        };
        let hint =
            format!("an RPC has one name, for it has one queue: write {written} here, too, or remove it");
        Some(Finding::error(wrong.place.clone(), message, hint))
    }
}
