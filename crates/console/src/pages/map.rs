//! The map from events to RPCs, drawn by the server.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::answers::{Route, Rpc, Status};
use crate::frame::Frame;
use crate::shown::{count, short};
use crate::standing::Standing;

/// More would be no map. Then only RPCs that are not well are drawn.
const RPCS_MAX: usize = 24;
const EVENTS_MAX: usize = 30;
const EDGES_MAX: usize = 120;
const ROW: usize = 34;
const WIDTH: usize = 900;
const BOX: usize = 300;
const HIGH: usize = 26;
const NAME_CHARS_MAX: usize = 38;
/// An edge is at most so wide.
const EDGE_MAX: f64 = 8.0;

pub(crate) fn map(frame: &Frame, status: &Status, routes: &[Route]) -> Markup {
    let mut rpcs: Vec<&Rpc> = status.rpcs.iter().collect();
    let all = rpcs.len();
    if all > RPCS_MAX {
        rpcs.retain(|rpc| Standing::of(rpc).word != "well");
        rpcs.truncate(RPCS_MAX);
    }
    let places: BTreeMap<&str, usize> =
        rpcs.iter().enumerate().map(|(at, rpc)| (rpc.rpc.as_str(), at)).collect();
    let mut events: Vec<&str> = Vec::new();
    for route in routes.iter().filter(|route| places.contains_key(route.rpc.as_str())) {
        if !events.contains(&route.event.as_str()) && events.len() < EVENTS_MAX {
            events.push(&route.event);
        }
    }
    if rpcs.is_empty() {
        return html! { p { "No RPC is to be drawn." } };
    }
    let edge_of = |route: &Route| {
        let from = events.iter().position(|event| *event == route.event)?;
        Some((from, *places.get(route.rpc.as_str())?))
    };
    let edges: BTreeSet<(usize, usize)> = routes.iter().filter_map(edge_of).collect();
    let height = events.len().max(rpcs.len()) * ROW + 8;
    let (event_at, rpc_at) = (spread(events.len(), height), spread(rpcs.len(), height));
    html! {
        @if all > rpcs.len() { p { "Only RPCs that are not well are drawn: " (rpcs.len()) " of " (all) "." } }
        @if routes.is_empty() { p { "Routes are not known here: pass --router FILE." } }
        div.wide role="region" aria-label="Map" tabindex="0" {
            svg.map viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) role="group" aria-label="From events to RPCs; the table below says the same" {
                @for (from, to) in edges.iter().take(EDGES_MAX) { (edge(event_at(*from), rpc_at(*to), status, rpcs[*to])) }
                @for (at, event) in events.iter().enumerate() {
                    rect.node x="1" y=(event_at(at)) width=(BOX) height=(HIGH) rx="4" {}
                    text x="10" y=(event_at(at) + 18) { title { (event) } (short(event, NAME_CHARS_MAX)) }
                }
                @for (at, rpc) in rpcs.iter().enumerate() { (node(frame, rpc, rpc_at(at))) }
            }
        }
    }
}

fn node(frame: &Frame, rpc: &Rpc, y: usize) -> Markup {
    let Standing { tone, shape, word } = Standing::of(rpc);
    let (x, waiting) = (WIDTH - BOX - 1, count(rpc.waiting));
    html! {
        a href=(frame.rpc_link(&rpc.rpc)) {
            rect.node.(tone.class()) x=(x) y=(y) width=(BOX) height=(HIGH) rx="4" {}
            text x=(x + 10) y=(y + 18) {
                title { (rpc.rpc) ": " (word) ", waiting: " (waiting) }
                tspan.(tone.class()) { (shape) " " }
                (short(&rpc.rpc, NAME_CHARS_MAX))
            }
        }
    }
}

/// Its width is how many calls ended in the last minute, its class the state of the RPC.
fn edge(from: usize, to: usize, status: &Status, rpc: &Rpc) -> Markup {
    let ended = status.ended_in_a_minute(rpc);
    let width = ended.map_or(1.0, |ended| ((ended as f64 + 1.0).ln() + 1.0).min(EDGE_MAX));
    let (x1, x2, bend) = (BOX + 1, WIDTH - BOX - 1, (WIDTH - 2 * BOX) / 2);
    let (y1, y2) = (from + HIGH / 2, to + HIGH / 2);
    let path = format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend);
    html! { path.edge.(Standing::of(rpc).tone.class()) d=(path) stroke-width=(format!("{width:.1}")) {} }
}

/// So many boxes, evenly over the height.
fn spread(many: usize, height: usize) -> impl Fn(usize) -> usize {
    let each = height / many.max(1);
    move |at| at * each + (each.saturating_sub(HIGH)) / 2
}
