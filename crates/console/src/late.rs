//! What stands over numbers that are older than they should be.

use maud::{Markup, html};

use crate::ask::Refusal;
use crate::parts::refused;

/// Nothing, if the last look was answered.
pub(crate) fn older(late: Option<&Refusal>) -> Markup {
    html! {
        @if let Some(late) = late {
            (refused(late))
            p { "What follows is older." }
        }
    }
}
