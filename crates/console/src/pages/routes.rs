use maud::{Markup, html};

use crate::answers::Route;
use crate::frame::Frame;
use crate::parts::{more, table};
use crate::shown::{age_or, thousands, whole};

const ROWS_MAX: usize = 200;

pub(crate) fn page(frame: &Frame, routes: &[Route]) -> Markup {
    let rows = html! {
        @for route in routes.iter().take(ROWS_MAX) {
            tr data-row {
                th scope="row" { (route.event) }
                td { (frame.rpc(&route.rpc)) }
                td { (policy(route)) }
            }
        }
    };
    html! {
        @if routes.is_empty() { p { "No route: event_router.yaml has no subscriber." } }
        @else { (table("Routes", &["Event", "RPC", "Policy"], &rows)) }
        (more(routes.len(), ROWS_MAX, ""))
        p { "These are the routes of this console's file. " a href=(frame.link("/line")) { "Line" } " says which ones each process has." }
    }
}

pub(crate) fn policy(route: &Route) -> Markup {
    html! {
        "timeout " (age_or(route.timeout_seconds)) ", " (whole(route.concurrency)) " at a time in each worker, "
        @if let Some(rate) = route.rate_per_second { (thousands(rate)) " a second, " }
        (whole(route.max_attempts)) " attempts, backoff " (age_or(route.backoff_min_seconds)) " to " (age_or(route.backoff_max_seconds))
    }
}
