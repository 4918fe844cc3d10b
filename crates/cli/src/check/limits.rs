//! What EventBridge and SQS allow: one rule for each route, one queue for each RPC.

use std::collections::BTreeMap;

use outbox_event_router::{Route, Router, names};
use outbox_finding::{Finding, Place};

/// A bus's default quota, and so the number of routes.
const RULES_MAX: usize = 300;

pub(crate) fn check(router: &Router) -> Vec<Finding> {
    let mut findings = Vec::new();
    let routes: Vec<Route<'_>> = router.routes().collect();
    // In the order of the file, so that the last ones are reported.
    let mut places: Vec<&Place> = routes.iter().map(|route| route.place).collect();
    places.sort();
    if let Some(first_over) = places.get(RULES_MAX) {
        let message = format!(
            "{} subscribers need as many rules, and a bus has {RULES_MAX}; this is the first too many",
            routes.len()
        );
        let hint = "remove some, let one RPC subscribe where several do the same, or split the domain over two buses";
        findings.push(Finding::error((*first_over).clone(), message, hint));
    }
    let queues = routes.iter().map(|route| (route.rpc.to_string(), names::queue("", route.rpc), route.place));
    findings.extend(collisions("queue", queues));
    let rules = routes.iter().map(|route| {
        (format!("{} → {}", route.event, route.rpc), names::rule(route.event, route.rpc), route.place)
    });
    findings.extend(collisions("rule", rules));
    findings
}

/// Two things that would have one name on AWS.
fn collisions<'a>(what: &str, named: impl Iterator<Item = (String, String, &'a Place)>) -> Vec<Finding> {
    let mut first_of: BTreeMap<String, (String, &Place)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (thing, name, place) in named {
        match first_of.get(&name) {
            Some((first, _)) if *first == thing => {}
            Some((first, at)) => {
                let message = format!(
                    "two {what}s would be called {name}: that of {thing} and, on line {}, that of {first}",
                    at.line
                );
                findings.push(Finding::error(
                    place.clone(),
                    message,
                    "long names are shortened: rename one of them",
                ));
            }
            None => {
                first_of.insert(name, (thing, place));
            }
        }
    }
    findings
}
