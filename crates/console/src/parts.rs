//! Parts that pages share: states, tables and refusals.

use maud::{Markup, html};

use crate::ask::Refusal;

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

pub(crate) fn option(value: &str, chosen: &str, text: &str) -> Markup {
    html! { option value=(value) selected[value == chosen] { (text) } }
}
