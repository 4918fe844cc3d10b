//! Events on the left, RPCs on the right, those of one service in one box.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use event_router::{Router, Rpc};

pub(crate) fn mermaid(router: &Router) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for (event, _) in router.events() {
        let _ = writeln!(out, "    {event}([\"{event}\"])");
    }
    for (service, rpcs) in services(router) {
        let _ = writeln!(out, "    subgraph service_{}[\"{service}\"]", service.replace('.', "_"));
        for rpc in rpcs {
            let _ = writeln!(out, "        {}[\"{}\"]", node(rpc), method(rpc));
        }
        out.push_str("    end\n");
    }
    for route in router.routes() {
        let _ = writeln!(out, "    {} --> {}", route.event, node(route.rpc));
    }
    out.trim_end().to_owned()
}

pub(crate) fn dot(router: &Router) -> String {
    let mut out = "digraph routes {\n    rankdir=LR;\n    node [shape=box];\n".to_owned();
    for (event, _) in router.events() {
        let _ = writeln!(out, "    \"{event}\" [style=rounded];");
    }
    for (service, rpcs) in services(router) {
        let _ = writeln!(out, "    subgraph \"cluster_{service}\" {{\n        label=\"{service}\";");
        for rpc in rpcs {
            let _ = writeln!(out, "        \"{rpc}\" [label=\"{}\"];", method(rpc));
        }
        out.push_str("    }\n");
    }
    for route in router.routes() {
        let _ = writeln!(out, "    \"{}\" -> \"{}\";", route.event, route.rpc);
    }
    out.push('}');
    out
}

fn services(router: &Router) -> BTreeMap<&str, BTreeSet<&Rpc>> {
    let mut services: BTreeMap<&str, BTreeSet<&Rpc>> = BTreeMap::new();
    for (rpc, _) in router.rpcs() {
        services.entry(rpc.service()).or_default().insert(rpc);
    }
    services
}

/// `A_B_C`: identifiers have no dots or slashes, and two RPCs would have to differ in just these to be mixed up.
fn node(rpc: &Rpc) -> String {
    rpc.as_str().replace(['.', '/'], "_")
}

fn method(rpc: &Rpc) -> &str {
    rpc.as_str().split_once('/').map_or(rpc.as_str(), |(_, method)| method)
}
