//! What would break events that were published before and are not delivered yet.
//!
//! A payload travels as JSON, so names count. Services that were built before, and are sent proto or grpc, depend on numbers.
//! Both must stay.

use std::collections::BTreeSet;

use outbox_contract::{Contract, EventType, carrier};
use outbox_event_router::{Route, Router, Rpc};
use outbox_finding::{Finding, Place};
use prost_reflect::{FieldDescriptor, MethodDescriptor};

use super::older::{OldRouter, Older};
use messages::Comparison;

mod messages;

/// Compares the events of both versions: their messages, and the requests that carry them.
pub(crate) fn in_proto(older: &Older, router: &Router, contract: &Contract) -> Vec<Finding> {
    let mut comparison = Comparison::new(older, contract);
    for old in older.contract.events() {
        if let Some(new) = contract.event(&old.name) {
            comparison.compare(&old.message, &new.message);
        }
    }
    let mut findings = comparison.findings;
    findings.extend(keys(older, contract));
    findings.extend(router.routes().filter_map(|route| carriers(older, &route, contract)));
    findings
}

/// Only for an event_router.yaml without mistakes: otherwise it is unknown which routes are gone.
pub(crate) fn in_routes(
    older: &Older,
    router_file: &str,
    router: &Router,
    contract: &Contract,
) -> Vec<Finding> {
    let mut findings = removed_events(older, router_file, router, contract);
    match &older.router {
        OldRouter::Known(old_router) => {
            findings.extend(subscribers(older, old_router, router_file, router, contract));
            findings.extend(stranded(older, old_router, router, contract));
        }
        OldRouter::Gone => findings.push(Finding::warning(
            Place::start_of(router_file),
            format!("{} has no {router_file}: it is not known who subscribed", older.name),
            "pass the older one with --against-router FILE, if there was one",
        )),
        OldRouter::NotAsked => {}
    }
    findings
}

/// The call as services see it that were built before: its path, and the field that carries the event.
fn carriers(older: &Older, route: &Route<'_>, contract: &Contract) -> Option<Finding> {
    let old_called = older.router.called(route.rpc);
    let old_method =
        [old_called, route.called].into_iter().find_map(|id| older.contract.rpc(id.as_str()).ok())?;
    let new_method = contract.rpc(route.called.as_str()).ok()?;
    if old_method.full_name() != new_method.full_name() {
        let message =
            format!("'{}' was {} and is {}", route.rpc, old_method.full_name(), new_method.full_name());
        let hint = format!(
            "calls go to the new name at once: deploy its server before, or name the old one in full as `id`, with queue: '{}' beside it",
            route.rpc
        );
        return Some(Finding::warning(route.place.clone(), message, hint));
    }
    let old = carrier_in(&older.contract, &old_method, route.event)?;
    let new = carrier_in(contract, &new_method, route.event)?;
    let shown = |field: &FieldDescriptor| format!("`{}` = {}", field.json_name(), field.number());
    if shown(&old) == shown(&new) {
        return None;
    }
    let place = contract.place(&new.parent_file(), new.path());
    let message = format!("'{}' gets its event in {} and got it in {}", route.rpc, shown(&new), shown(&old));
    let hint = format!("services that were built before look for it there: leave it {}", shown(&old));
    Some(Finding::error(place, message, hint))
}

/// Events that an RPC no longer subscribes to, and that its request can't take any more: some may wait in its queue.
fn stranded(older: &Older, old_router: &Router, router: &Router, contract: &Contract) -> Vec<Finding> {
    let mut findings = Vec::new();
    for old in old_router.routes().filter(|old| !router.subscribers(old.event).contains(old.rpc)) {
        let Some(route) = router.routes().find(|route| route.rpc == old.rpc) else { continue };
        let takes = |contract: &Contract, called: &Rpc| {
            let method = contract.rpc(called.as_str()).ok();
            method.and_then(|method| carrier_in(contract, &method, old.event)).is_some()
        };
        if takes(&older.contract, old.called) && !takes(contract, route.called) {
            let message =
                format!("'{}' can no longer take '{}', of which its queue may hold some", old.rpc, old.event);
            let hint = "leave the field in its request until they are delivered";
            findings.push(Finding::error(route.place.clone(), message, hint));
        }
    }
    findings
}

/// The field of an RPC's request that carries an event, if there is one.
fn carrier_in(contract: &Contract, method: &MethodDescriptor, event: &str) -> Option<FieldDescriptor> {
    carrier(&method.input(), &contract.event(event)?.message).ok()
}

/// RPCs that are gone from event_router.yaml, while their queues may hold messages.
fn subscribers(
    older: &Older,
    old_router: &Router,
    router_file: &str,
    router: &Router,
    contract: &Contract,
) -> Vec<Finding> {
    let routed: BTreeSet<_> = router.rpcs().map(|(rpc, _)| rpc).collect();
    let mut findings = Vec::new();
    for (rpc, _) in old_router.rpcs().filter(|(rpc, _)| !routed.contains(rpc)) {
        let old_called = old_router.called(rpc);
        let same = |other: &Rpc| match (older.contract.rpc(old_called.as_str()), contract.rpc(other.as_str()))
        {
            (Ok(old), Ok(new)) => old.full_name() == new.full_name(),
            _ => false,
        };
        if let Some(renamed) = router.routes().find(|route| same(route.called)) {
            findings.push(renamed_queue(rpc, &renamed));
            continue;
        }
        let event = old_router.routes().find(|route| route.rpc == rpc).map(|route| route.event);
        let place = router
            .events()
            .find(|(name, _)| Some(*name) == event)
            .map_or_else(|| Place::start_of(router_file), |(_, place)| place.clone());
        let message =
            format!("'{rpc}' no longer subscribes to anything, and its queue may still hold messages");
        let hint = "no worker will receive them: see that its queue and its dead-letter queue are empty before this is deployed";
        let hint = match successor(old_called, old_router, router) {
            Some(id) => format!("{hint}; if '{id}' takes its place, write queue: '{rpc}' beside that id"),
            None => hint.to_owned(),
        };
        findings.push(Finding::warning(place, message, hint));
    }
    findings
}

/// The same RPC under another queue's name: the name that it had must stay.
fn renamed_queue(was: &Rpc, route: &Route<'_>) -> Finding {
    let message =
        format!("'{was}' is now called '{}': that is another queue and another dedup record", route.rpc);
    let how = match route.rpc == route.called {
        true => format!("write queue: '{was}' beside it"),
        false => format!("write queue: '{was}' instead"),
    };
    let why = "what waits in its queue would not be received, and what was done could be done again";
    Finding::error(route.place.clone(), message, format!("{how}: otherwise {why}"))
}

/// A new RPC whose service and method are called as those of one that is gone, perhaps in another package.
fn successor<'a>(gone: &Rpc, old_router: &Router, router: &'a Router) -> Option<&'a Rpc> {
    let name = |rpc: &Rpc| rpc.as_str().rsplit('.').next().unwrap_or_default().to_owned();
    let is_new = |route: &Route<'_>| old_router.rpcs().all(|(rpc, _)| rpc != route.rpc);
    router.routes().find(|route| is_new(route) && name(route.called) == name(gone)).map(|route| route.called)
}

/// Events that are gone from proto. One that is still routed is reported elsewhere as an unknown event.
fn removed_events(older: &Older, router_file: &str, router: &Router, contract: &Contract) -> Vec<Finding> {
    let gone = |event: &&EventType| contract.event(&event.name).is_none() && !router.lists(&event.name);
    let finding = |event: &EventType| {
        let place = beside(contract, event).unwrap_or_else(|| Place::start_of(router_file));
        let message = format!("the event '{}' was removed; it was there in {}", event.name, older.name);
        let hint = "what was published of it and is not delivered yet still needs it: remove it only when its queues are empty";
        Finding::warning(place, message, hint)
    };
    older.contract.events().filter(gone).map(finding).collect()
}

/// The place of a removed event: the enum of its value, or else a file of its package.
fn beside(contract: &Contract, event: &EventType) -> Option<Place> {
    let event_enum = event.value.parent_enum();
    if let Some(event_enum) = contract.pool().get_enum_by_name(event_enum.full_name()) {
        return Some(contract.place(&event_enum.parent_file(), event_enum.path()));
    }
    let mut files = contract.files();
    let file = files.find(|file| file.package_name() == event_enum.package_name())?;
    Some(contract.place(&file, &[]))
}

fn keys(older: &Older, contract: &Contract) -> Vec<Finding> {
    let changed = older.contract.events().filter_map(|old| {
        let new = contract.event(&old.name)?;
        let message = match (&old.key, &new.key) {
            (None, _) => return None,
            // It may have been renamed, which is allowed.
            (Some(was), Some(is)) if was.number() == is.number() => return None,
            (Some(was), Some(is)) => format!("the key of '{}' was `{}` and is `{}`", new.name, was.name(), is.name()),
            (Some(was), None) => format!("the key of '{}' was `{}`, and it has none any more", new.name, was.name()),
        };
        let hint = "events published before and after are not kept in order with each other: deploy when that does no harm";
        Some(Finding::warning(new.place.clone(), message, hint))
    });
    changed.collect()
}
