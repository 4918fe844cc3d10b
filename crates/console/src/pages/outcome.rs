//! What a form did, if that is worth a word.

use maud::{Markup, html};

use crate::frame::Frame;
use crate::outcome::Outcome;

/// Not all was done. `back` is the page that would have been opened.
pub(crate) fn page(frame: &Frame, outcome: &Outcome, back: &str) -> Markup {
    html! {
        div.problem role="alert" { @for line in &outcome.troubles { p { strong { (line) } } } }
        @for line in &outcome.notes { p { (line) } }
        p {
            a href=(frame.link(back)) { "See how it is now" } ". "
            a href=(frame.link("/audit")) { "Audit" } " keeps what was done."
        }
    }
}

/// Above the page that is opened after the form.
pub(crate) fn notes(lines: &[String]) -> Markup {
    html! { @if !lines.is_empty() { div role="status" { @for line in lines { p { (line) } } } } }
}
