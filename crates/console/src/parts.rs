//! Parts that pages share: states, tables and refusals.

use maud::{Markup, html};

use crate::ask::Refusal;

const TIMES: [(&str, &str); 4] =
    [("1h", "1 hour"), ("6h", "6 hours"), ("1day", "1 day"), ("7days", "7 days")];

/// Why a page has nothing to show.
pub(crate) fn refused(refusal: &Refusal) -> Markup {
    html! {
        div.problem role="alert" {
            p { strong { (refusal.problem) } }
            p { (refusal.remedy) }
        }
    }
}

/// A state is a shape and a word, so that colour alone says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
    Quiet,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

pub(crate) fn state(tone: Tone, shape: &str, word: &str) -> Markup {
    html! { span.state.(tone.class()) { span aria-hidden="true" { (shape) } " " (word) } }
}

/// A table that scrolls by itself where it is too wide. A head that begins with `#` is over numbers.
pub(crate) fn table(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.wide role="region" aria-label=(format!("{label}, table")) tabindex="0" {
            table {
                thead { tr { @for head in heads { th.number[head.starts_with('#')] scope="col" { (head.trim_start_matches('#')) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A list that is cut says so. Nothing, if all are shown.
pub(crate) fn more(all: usize, shown: usize, what: &str) -> Markup {
    html! { @if all > shown { p { (all - shown) " more" @if !what.is_empty() { " " (what) } ": see the command below." } } }
}

/// Beginnings to choose from, with what the address has. `any` is the choice of none.
pub(crate) fn times(any: Option<&str>, chosen: &str) -> Markup {
    html! {
        @if let Some(any) = any { (option("", chosen, any)) }
        @for (value, text) in TIMES { (option(value, chosen, text)) }
        @if !chosen.is_empty() && TIMES.iter().all(|(value, _)| *value != chosen) { (option(chosen, chosen, chosen)) }
    }
}

pub(crate) fn option(value: &str, chosen: &str, text: &str) -> Markup {
    html! { option value=(value) selected[value == chosen] { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a time that is not offered is shown as it is used, and not as another one.
    #[test]
    fn the_time_of_the_address_is_chosen() {
        for (any, chosen, expected) in [
            (None, "1h", "<option value=\"1h\" selected>1 hour</option>"),
            (None, "2h", "<option value=\"2h\" selected>2h</option>"),
            (Some("any time"), "", "<option value=\"\" selected>any time</option>"),
            (Some("any time"), "2026-11-22", "<option value=\"2026-11-22\" selected>2026-11-22</option>"),
        ] {
            let shown = times(any, chosen).0;
            assert_eq!(shown.matches(" selected").count(), 1, "{shown}");
            assert!(shown.contains(expected), "{shown}");
        }
    }

    /// Guards promise 8: a list that is cut says how many more there are.
    #[test]
    fn a_list_that_is_cut_says_so() {
        assert_eq!((more(3, 3, "RPCs").0, more(0, 3, "").0), (String::new(), String::new()));
        assert_eq!(more(5, 3, "RPCs").0, "<p>2 more RPCs: see the command below.</p>");
        assert_eq!(more(4, 3, "").0, "<p>1 more: see the command below.</p>");
    }
}
