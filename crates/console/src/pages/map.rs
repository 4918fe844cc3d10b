//! The map from events to RPCs, drawn by the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maud::{Markup, html};

use crate::answers::{Route, Rpc, Status};
use crate::ask::Refusal;
use crate::frame::Frame;
use crate::parts::Tone;
use crate::shown::{count, query, short, thousands};
use crate::standing::Standing;

/// With more than these, RPCs that are well are one box for each service.
pub(crate) const RPCS_MAX: usize = 40;
const BOXES_MAX: usize = 36;
const EVENTS_MAX: usize = 30;
const EDGES_MAX: usize = 120;
const ROW: usize = 34;
const HIGH: usize = 26;
const WIDTH: usize = 1100;
const EVENT: usize = 300;
const RPC: usize = 450;
const EVENT_CHARS_MAX: usize = 38;
const RPC_CHARS_MAX: usize = 44;
/// An edge is at most so wide.
const EDGE_MAX: f64 = 8.0;

/// One RPC, or those of a service that are well.
struct Node<'a> {
    name: String,
    standing: Standing,
    number: String,
    path: String,
    rpcs: Vec<&'a Rpc>,
}

type Routes = Result<Arc<Vec<Route>>, Refusal>;

pub(crate) fn map(frame: &Frame, status: &Status, known: &Routes) -> Markup {
    let nodes = nodes(frame, status);
    if nodes.is_empty() {
        return html! { p { "No RPC is known here." } };
    }
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().take(BOXES_MAX).enumerate() {
        node.rpcs.iter().for_each(|rpc| places.entry(&rpc.rpc).or_default().push(at));
    }
    let routes = known.as_ref().map_or(&[][..], |routes| routes.as_slice());
    let (mut events, mut edges): (Vec<&str>, _) = (Vec::new(), BTreeSet::new());
    let mut left_out = BTreeSet::new();
    for route in routes {
        let Some(to) = places.get(route.rpc.as_str()) else { continue };
        let known = events.iter().position(|event| *event == route.event);
        let from = match known {
            Some(from) => from,
            None if events.len() < EVENTS_MAX => {
                events.push(&route.event);
                events.len() - 1
            }
            None => {
                left_out.insert(route.event.as_str());
                continue;
            }
        };
        edges.extend(to.iter().map(|to| (from, *to)));
    }
    let drawn = nodes.len().min(BOXES_MAX);
    let height = events.len().max(drawn) * ROW + 8;
    let (event_at, rpc_at) = (spread(events.len(), height), spread(drawn, height));
    html! {
        @if nodes.len() > drawn { p { (nodes.len() - drawn) " more are not drawn: the table has them." } }
        @if let Err(refusal) = known { p { "Routes are not known here: " (refusal.problem) ". " (refusal.remedy) "." } }
        @if !left_out.is_empty() || edges.len() > EDGES_MAX {
            p {
                (thousands(left_out.len() as i64)) " events and " (thousands(edges.len().saturating_sub(EDGES_MAX) as i64)) " routes are not drawn: "
                a href=(frame.link("/routes")) { "Routes" } " has them."
            }
        }
        div.wide.map role="region" aria-label="Map" tabindex="0" {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="group" aria-label="From events to RPCs; the table below says the same" {
                @for (from, to) in edges.iter().take(EDGES_MAX) { (edge(event_at(*from), rpc_at(*to), status, &nodes[*to])) }
                @for (at, event) in events.iter().enumerate() {
                    a href=(frame.link(&format!("/events{}", query(&[("name", event)])))) {
                        rect.node x="1" y=(event_at(at)) width=(EVENT) height=(HIGH) rx="5" {}
                        text x="10" y=(event_at(at) + 18) { title { (event) } (short(event, EVENT_CHARS_MAX)) }
                    }
                }
                @for (at, one) in nodes.iter().take(drawn).enumerate() { (node(one, rpc_at(at))) }
            }
        }
    }
}

/// Those that are not well come first, if there are many.
fn nodes<'a>(frame: &Frame, status: &'a Status) -> Vec<Node<'a>> {
    let one = |rpc: &'a Rpc| Node {
        name: rpc.rpc.clone(),
        standing: Standing::of(rpc),
        number: number(rpc, status),
        path: frame.rpc_link(&rpc.rpc),
        rpcs: vec![rpc],
    };
    if status.rpcs.len() <= RPCS_MAX {
        return status.rpcs.iter().map(one).collect();
    }
    let (well, others): (Vec<&Rpc>, Vec<&Rpc>) =
        status.rpcs.iter().partition(|rpc| Standing::of(rpc).tone == Tone::Good);
    let mut services: BTreeMap<&str, Vec<&Rpc>> = BTreeMap::new();
    for rpc in well {
        services.entry(rpc.rpc.split('/').next().unwrap_or_default()).or_default().push(rpc);
    }
    let folded = services.into_iter().map(|(service, rpcs)| Node {
        name: service.to_owned(),
        standing: Standing::of(rpcs[0]),
        number: format!("{} well", thousands(rpcs.len() as i64)),
        path: frame.link("/#well"),
        rpcs,
    });
    others.into_iter().map(one).chain(folded).collect()
}

/// The one that tells most.
fn number(rpc: &Rpc, status: &Status) -> String {
    let some = |number: Option<i64>| number.is_some_and(|number| number > 0);
    match rpc {
        rpc if some(rpc.dead) => format!("{} dead", count(rpc.dead)),
        rpc if some(rpc.waiting) => format!("{} wait", count(rpc.waiting)),
        rpc if some(rpc.retrying) => format!("{} retry", count(rpc.retrying)),
        rpc => status
            .ended_in_a_minute(rpc)
            .map_or_else(String::new, |ended| format!("{}/min", thousands(ended))),
    }
}

fn node(node: &Node, y: usize) -> Markup {
    let Standing { tone, shape, word } = node.standing;
    let x = WIDTH - RPC - 1;
    html! {
        a href=(node.path) {
            rect.node.(tone.class()) x=(x) y=(y) width=(RPC) height=(HIGH) rx="5" {}
            text x=(x + 10) y=(y + 18) {
                title { (node.name) ": " (word) }
                tspan.(tone.class()) { (shape) " " }
                (short(&node.name, RPC_CHARS_MAX))
            }
            text.quiet x=(WIDTH - 12) y=(y + 18) text-anchor="end" { (node.number) }
        }
    }
}

/// Its width is how many calls ended in the last minute, its class the state of the RPC.
fn edge(from: usize, to: usize, status: &Status, node: &Node) -> Markup {
    let ended: Option<i64> =
        node.rpcs.iter().filter_map(|rpc| status.ended_in_a_minute(rpc)).reduce(|a, b| a + b);
    let width = ended.map_or(1.0, |ended| ((ended as f64 + 1.0).ln() + 1.0).min(EDGE_MAX));
    let (x1, x2, bend) = (EVENT + 1, WIDTH - RPC - 1, (WIDTH - EVENT - RPC) / 2);
    let (y1, y2) = (from + HIGH / 2, to + HIGH / 2);
    let path = format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend);
    html! { path.edge.(node.standing.tone.class()) d=(path) stroke-width=(format!("{width:.1}")) {} }
}

/// So many boxes, evenly over the height.
fn spread(many: usize, height: usize) -> impl Fn(usize) -> usize {
    let each = height / many.max(1);
    move |at| at * each + (each.saturating_sub(HIGH)) / 2
}
