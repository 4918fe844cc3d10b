//! What would break events that were published before and are not delivered yet.
//!
//! A payload travels as JSON, so names count. Services that were built before, and are sent proto or grpc, depend on numbers.
//! Both must stay.

use std::collections::BTreeSet;

use outbox_contract::{Contract, EventType, carrier};
use outbox_event_router::{Route, Router, Rpc};
use outbox_finding::{Finding, Place};
use prost_reflect::FieldDescriptor;

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
    let method = |contract: &Contract| contract.rpc(route.rpc.as_str()).ok();
    let (old_method, new_method) = (method(&older.contract)?, method(contract)?);
    if old_method.full_name() != new_method.full_name() {
        let message =
            format!("'{}' was {} and is {}", route.rpc, old_method.full_name(), new_method.full_name());
        let hint = "calls go to the new name at once: deploy its server before, or name the old one in full";
        return Some(Finding::warning(route.place.clone(), message, hint));
    }
    let field = |contract: &Contract| carrier_in(contract, route.rpc, route.event);
    let (old, new) = (field(&older.contract)?, field(contract)?);
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
        let takes = |contract: &Contract| carrier_in(contract, old.rpc, old.event).is_some();
        if takes(&older.contract) && !takes(contract) {
            let message =
                format!("'{}' can no longer take '{}', of which its queue may hold some", old.rpc, old.event);
            let hint = "leave the field in its request until they are delivered";
            findings.push(Finding::error(route.place.clone(), message, hint));
        }
    }
    findings
}

/// The field of an RPC's request that carries an event, if there is one.
fn carrier_in(contract: &Contract, rpc: &Rpc, event: &str) -> Option<FieldDescriptor> {
    let method = contract.rpc(rpc.as_str()).ok()?;
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
        let same = |other: &str| match (older.contract.rpc(rpc.as_str()), contract.rpc(other)) {
            (Ok(old), Ok(new)) => old.full_name() == new.full_name(),
            _ => false,
        };
        if let Some(renamed) = router.routes().find(|route| same(route.rpc.as_str())) {
            let message = format!(
                "'{rpc}' is now called '{}': that is another queue and another dedup record",
                renamed.rpc
            );
            let hint = format!(
                "write '{rpc}' as before: what waits in its queue would not be received, and what was done could be done again"
            );
            findings.push(Finding::error(renamed.place.clone(), message, hint));
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
        findings.push(Finding::warning(place, message, hint));
    }
    findings
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
