use maud::{Markup, html};

use crate::answers::Letter;
use crate::frame::Frame;
use crate::shown::encoded;

/// Beside a letter, for who may see payloads.
pub(crate) fn form(frame: &Frame, letter: &Letter) -> Markup {
    html! {
        @if frame.viewer.may_see_payloads {
            form.change method="post" action=(frame.link(&format!("/dead/letter/{}/payload", encoded(&letter.id)))) {
                input type="hidden" name="form_token" value=(frame.form_token);
                label { "Why (kept in the audit) " input name="why" required maxlength="500" autocomplete="off"; }
                button type="submit" { "Show the payload" }
            }
        }
    }
}

/// Every database counts its own letters, so one number may be several.
pub(crate) fn page(frame: &Frame, id: &str, payloads: &[String]) -> Markup {
    html! {
        p { a href=(frame.link(&format!("/dead/letter/{}", encoded(id)))) { "Dead letter " (id) } }
        @if payloads.is_empty() { p { "Its body is malformed: no payload can be found in it." } }
        @for payload in payloads { pre { (payload) } }
        p.quiet { "The audit has that you looked, and why. Fields that proto marks with (outbox.sensitive) are •••." }
    }
}
