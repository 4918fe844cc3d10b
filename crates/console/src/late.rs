//! What stands over numbers that are older than they should be.

use maud::{Markup, html};

use crate::parts::refused;
use crate::shared::Seen;
use crate::shown::dated;

/// Nothing, if the last look was answered.
pub(crate) fn older<T>(seen: &Seen<T>) -> Markup {
    html! {
        @if let Some(late) = &seen.late {
            (refused(late))
            p { "What follows is older. It is of " (dated(seen.at)) "." }
        }
    }
}
