//! What every page has: its head, the way to the others, and the parts that they share.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use crate::access::Viewer;
use crate::ask::Refusal;
use crate::shown::{encoded, instant};

#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) base: &'a str,
    pub(crate) title: &'a str,
    pub(crate) viewer: &'a Viewer,
    pub(crate) form_token: String,
    pub(crate) now: DateTime<Utc>,
}

/// The pages that each page has a link to, with the key that opens them after `g`.
const PLACES: [(&str, &str, &str); 8] = [
    ("/", "Now", "n"),
    ("/dead", "Dead", "d"),
    ("/events", "Events", "e"),
    ("/parked", "Parked", "p"),
    ("/repairs", "Repairs", "r"),
    ("/line", "Line", "l"),
    ("/routes", "Routes", "o"),
    ("/audit", "Audit", "a"),
];

impl Frame<'_> {
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn rpc_link(&self, rpc: &str) -> String {
        self.link(&rpc_path(rpc))
    }

    pub(crate) fn rpc(&self, rpc: &str) -> Markup {
        html! { a href=(self.rpc_link(rpc)) { (rpc) } }
    }

    pub(crate) fn event(&self, id: &str) -> Markup {
        html! { a.id href=(self.link(&format!("/event/{}", encoded(id)))) { (id) } }
    }

    pub(crate) fn time(&self, at: Option<DateTime<Utc>>) -> Markup {
        crate::shown::time(at, self.now)
    }

    /// A whole page. `here` is the place in the navigation, `command` what prints the same in a terminal.
    pub(crate) fn page(&self, here: &str, heading: &str, command: &str, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" data-base=(self.base) data-now=(instant(self.now)) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (heading) " · " (self.title) }
                    link rel="stylesheet" href=(self.link("/console.css"));
                    link rel="icon" href="data:,";
                    script defer src=(self.link("/console.js")) {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (self.head(here))
                    main #main {
                        h1 { (heading) }
                        (body)
                    }
                    footer {
                        p { "As of " (instant(self.now)) ". In a terminal:" }
                        (self.command(command))
                    }
                }
            }
        }
    }

    fn head(&self, here: &str) -> Markup {
        let role = if self.viewer.may_repair { "may repair" } else { "looks only" };
        html! {
            header {
                p.title { (self.title) }
                nav aria-label="Pages" {
                    @for (path, name, key) in PLACES {
                        a href=(self.link(path)) data-key=(key) aria-current=[(path == here).then_some("page")] { (name) }
                    }
                }
                form.search role="search" method="get" action=(self.link("/search")) {
                    label for="q" { "Search" }
                    input #q name="q" type="search" autocomplete="off" placeholder="id, RPC, event name, key:card-7";
                }
                p.viewer { (self.viewer.name) " (" (role) ")" }
            }
        }
    }

    /// A command to copy.
    pub(crate) fn command(&self, command: &str) -> Markup {
        html! {
            div.command {
                code { (command) }
                button type="button" hidden data-copy=(command) { "Copy" }
            }
        }
    }

    /// A form that changes something: nothing for a viewer.
    pub(crate) fn form(&self, action: &str, button: &str, fields: &Markup) -> Markup {
        if !self.viewer.may_repair {
            return html! {};
        }
        html! {
            form.change method="post" action=(self.link(action)) {
                input type="hidden" name="form_token" value=(self.form_token);
                (fields)
                button type="submit" { (button) }
            }
        }
    }
}

/// Without the base path.
pub(crate) fn rpc_path(rpc: &str) -> String {
    match rpc.split_once('/') {
        Some((service, method)) => format!("/rpc/{}/{}", encoded(service), encoded(method)),
        None => "/".to_owned(),
    }
}

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

/// A table that scrolls by itself where it is too wide.
pub(crate) fn table(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.wide role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

pub(crate) fn option(value: &str, chosen: &str, text: &str) -> Markup {
    html! { option value=(value) selected[value == chosen] { (text) } }
}
