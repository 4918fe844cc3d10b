use maud::{Markup, html};

use crate::answers::Letter;
use crate::commands::{self, ENTERED};
use crate::frame::Frame;
use crate::shown::encoded;

/// Beside a letter, for who may see payloads.
pub(crate) fn form(frame: &Frame, letter: &Letter) -> Markup {
    let path = format!("/dead/letter/{}/payload", encoded(&letter.id));
    html! {
        @if frame.viewer.may_see_payloads {
            (frame.form_if(true, &path, "Show the payload", &html! {
                label { "Why (kept in the audit) " input name="why" required maxlength="500" autocomplete="off"; }
            }))
            (frame.runs(&commands::payload(&letter.id, ENTERED)))
        }
    }
}

/// Every database counts its own letters, so one number may be several.
pub(crate) fn page(frame: &Frame, id: &str, payloads: &[String]) -> Markup {
    html! {
        p { a href=(frame.link(&format!("/dead/letter/{}", encoded(id)))) { "Dead letter " (id) } }
        @if payloads.is_empty() { p { "Its body is malformed: no payload can be found in it." } }
        @for payload in payloads { pre { (payload) } }
        p.quiet { "The audit keeps your name and reason. Fields that proto marks with (outbox.sensitive) are •••." }
    }
}
