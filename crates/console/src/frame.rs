//! What every page has: its head, the way to the others, and the forms.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use crate::access::Viewer;
use crate::ask::Ask;
use crate::look::{CHOICES, Look};
use crate::shown::{dated, encoded, instant, query};

/// No code in attributes, no style in the page, and what a viewer opened stays open.
const HTMX: &str = r#"{"extensions": "sse", "prefix": "", "includeIndicatorCSS": false, "history": false, "morphIgnore": ["data-htmx-powered", "open", "hidden", "aria-pressed"]}"#;

#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) base: &'a str,
    pub(crate) title: &'a str,
    /// Of style and scripts.
    pub(crate) version: &'a str,
    pub(crate) viewer: &'a Viewer,
    pub(crate) look: Look,
    /// The address of this page.
    pub(crate) path: &'a str,
    pub(crate) form_token: String,
    /// When what it shows was so.
    pub(crate) now: DateTime<Utc>,
    /// When it was made: by that, a script counts how long ago something was.
    pub(crate) clock: DateTime<Utc>,
    /// What says how a command is called here.
    pub(crate) ask: &'a dyn Ask,
}

/// The pages that each page has a link to, with the key that opens them after `g`.
const PLACES: [(&str, &str, &str); 9] = [
    ("/", "Now", "n"),
    ("/dead", "Dead", "d"),
    ("/events", "Events", "e"),
    ("/replay", "Replay", "y"),
    ("/parked", "Parked", "p"),
    ("/repairs", "Repairs", "r"),
    ("/line", "Line", "l"),
    ("/routes", "Routes", "o"),
    ("/audit", "Audit", "a"),
];

const KEYS: [(&str, &str); 10] = [
    ("g, then a letter", "a page: the letter that its link names"),
    ("/", "search"),
    ("j and k", "the next and the previous row; Enter opens it"),
    ("r", "the redrive of the row with the focus, or of the page"),
    ("p", "the pause of the RPC in the row with the focus, or of the page"),
    ("f", "the first form of the page"),
    ("c", "copy the first command"),
    (".", "hold still, and go on"),
    ("t", "the next theme"),
    ("?", "these keys"),
];

impl Frame<'_> {
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn rpc_link(&self, rpc: &str) -> String {
        self.link(&rpc_path(rpc))
    }

    pub(crate) fn rpc(&self, rpc: &str) -> Markup {
        let (service, method) = rpc.split_once('/').unwrap_or(("", rpc));
        html! { a href=(self.rpc_link(rpc)) { @if !service.is_empty() { (service) "/" wbr; } (method) } }
    }

    pub(crate) fn event(&self, id: &str) -> Markup {
        html! { a.id href=(self.link(&format!("/event/{}", encoded(id)))) { (id) } }
    }

    pub(crate) fn time(&self, at: Option<DateTime<Utc>>) -> Markup {
        crate::shown::time(at, self.now)
    }

    pub(crate) fn exact(&self, at: Option<DateTime<Utc>>) -> Markup {
        crate::shown::exact(at, self.now)
    }

    pub(crate) fn may_repair(&self) -> bool {
        self.viewer.may_repair
    }

    /// A whole page. `here` is the place in the navigation, `command` what prints the same in a terminal.
    pub(crate) fn page(&self, here: &str, heading: &str, command: &str, body: &Markup) -> Markup {
        let asset = |name: &str| self.link(&format!("/{name}?v={}", self.version));
        let scheme = if self.look.theme() == "auto" { "light dark" } else { self.look.theme() };
        // Only a page that changes by itself needs it.
        let is_live = body.0.contains("hx-sse:connect");
        html! {
            (DOCTYPE)
            html lang="en" data-base=(self.base) data-now=(instant(self.clock)) data-theme=(self.look.theme()) data-times=(self.look.times()) data-keys=(self.look.keys()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content=(scheme);
                    title { (heading) " · " (self.title) }
                    link rel="stylesheet" href=(asset("console.css"));
                    link rel="icon" href="data:,";
                    @if is_live {
                        meta name="htmx-config" content=(HTMX);
                        script defer src=(asset("htmx.js")) {}
                    }
                    script defer src=(asset("console.js")) {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (self.head(here))
                    main #main tabindex="-1" {
                        h1 { (heading) }
                        (body)
                    }
                    footer {
                        p { "As of " (dated(self.now)) ". In a terminal:" }
                        (self.command(command))
                    }
                    (keys())
                }
            }
        }
    }

    fn head(&self, here: &str) -> Markup {
        let role = if self.may_repair() { "may repair" } else { "looks only" };
        let key = if self.viewer.may_search_keys { ", key:card-7" } else { "" };
        html! {
            header {
                p.title { (self.title) }
                nav aria-label="Pages" {
                    @for (path, name, key) in PLACES {
                        a href=(self.link(path)) data-key=(key) title=(format!("g {key}")) aria-current=[(path == here).then_some("page")] { (name) }
                    }
                }
                form.search role="search" method="get" action=(self.link("/search")) {
                    label.unseen for="q" { "Search" }
                    input #q name="q" type="search" autocomplete="off" placeholder=(format!("id, RPC, event name{key}"));
                }
                details.look {
                    summary { "View" }
                    div { (self.looks()) button type="button" hidden data-help { "Keys" } }
                }
                p.viewer { (self.viewer.name) " (" (role) ")" }
            }
        }
    }

    /// Links to the other values of each choice, which come back to this page.
    fn looks(&self) -> Markup {
        let to = |value: &str| self.link(&format!("/look{}", query(&[("to", value), ("back", self.path)])));
        html! {
            @for (n, (name, values)) in CHOICES.iter().enumerate() {
                @let chosen = self.look.0[n];
                p {
                    (name) ":"
                    @for (at, value) in values.iter().enumerate() {
                        " "
                        a href=(to(value)) aria-current=[(at == chosen).then_some("true")] data-next=[(at == (chosen + 1) % values.len()).then_some(*name)] { (value) }
                    }
                }
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

    /// What a form runs. What is entered in the form stands as `…`.
    pub(crate) fn runs(&self, words: &[String]) -> Markup {
        self.command(&self.ask.command(words))
    }

    /// A form that changes something, with its command: nothing for a viewer.
    pub(crate) fn act(&self, action: &str, words: &[String], button: &str, fields: &Markup) -> Markup {
        html! { @if self.may_repair() { (self.form(action, button, fields)) (self.runs(words)) } }
    }

    /// Without its command, which stands elsewhere on the page.
    pub(crate) fn form(&self, action: &str, button: &str, fields: &Markup) -> Markup {
        self.form_if(self.may_repair(), action, button, fields)
    }

    pub(crate) fn form_if(&self, is_allowed: bool, action: &str, button: &str, fields: &Markup) -> Markup {
        if !is_allowed {
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

fn keys() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-heading" {
            h2 #keys-heading { "Keys" }
            dl { @for (key, what) in KEYS { dt { kbd { (key) } } dd { (what) } } }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// Whether a host of an address has no port, or one that exists: `[::1]` has none, and 99999 is none.
pub fn has_usable_port(host: &str) -> bool {
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The page of an RPC, without what addresses begin with.
pub fn rpc_path(rpc: &str) -> String {
    match rpc.split_once('/') {
        Some((service, method)) => format!("/rpc/{}/{}", encoded(service), encoded(method)),
        None => "/".to_owned(),
    }
}
