//! Events on the left, RPCs on the right, those of one service in one box.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use outbox_event_router::{Router, Rpc};

pub(crate) fn mermaid(router: &Router) -> String {
    let nodes = nodes(router);
    let mut out = "flowchart LR\n".to_owned();
    for (event, _) in router.events() {
        let _ = writeln!(out, "    {event}([\"{event}\"])");
    }
    for (n, (service, rpcs)) in services(router).into_iter().enumerate() {
        let _ = writeln!(out, "    subgraph service{}[\"{service}\"]", n + 1);
        for rpc in rpcs {
            let _ = writeln!(out, "        {}[\"{}\"]", nodes[rpc], method(router.called(rpc)));
        }
        out.push_str("    end\n");
    }
    for route in router.routes() {
        let _ = writeln!(out, "    {} --> {}", route.event, nodes[route.rpc]);
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
            let _ = writeln!(out, "        \"{rpc}\" [label=\"{}\"];", method(router.called(rpc)));
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
        services.entry(router.called(rpc).service()).or_default().insert(rpc);
    }
    services
}

/// `A__B`, and `a.b.C__D` with single underscores for dots. A number distinguishes RPCs that would share one.
fn nodes(router: &Router) -> BTreeMap<&Rpc, String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    for (rpc, _) in router.rpcs() {
        let node = rpc.as_str().replace('.', "_").replace('/', "__");
        let time = times.entry(node.clone()).or_default();
        *time += 1;
        nodes.insert(rpc, if *time == 1 { node } else { format!("{node}_{time}") });
    }
    nodes
}

fn method(rpc: &Rpc) -> &str {
    rpc.as_str().split_once('/').map_or(rpc.as_str(), |(_, method)| method)
}
