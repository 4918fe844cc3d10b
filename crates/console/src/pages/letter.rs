use maud::{Markup, html};

use crate::answers::Letter;
use crate::frame::Frame;
use crate::shown::{NOT_KNOWN, query, short};

const REASON_CHARS_MAX: usize = 500;

/// Every database counts its own letters, so one number may be several.
pub(crate) fn page(frame: &Frame, letters: &[Letter]) -> Markup {
    html! {
        @for letter in letters { (one(frame, letter)) }
        p.quiet { "Not shown: the payload, and the values of headers." }
    }
}

fn one(frame: &Frame, letter: &Letter) -> Markup {
    // Without a name nothing of its body could be read.
    let none = if letter.event_name.is_some() { "none" } else { NOT_KNOWN };
    html! {
        dl {
            dt { "RPC" } dd { (frame.rpc(&letter.rpc)) " in " (letter.source) }
            dt { "Event" } dd { @match &letter.event { Some(event) => { (frame.event(event)) } None => { (NOT_KNOWN) } } }
            dt { "Name" } dd { (letter.event_name.as_deref().unwrap_or("not known: its body is malformed")) }
            dt { "Key" } dd { (letter.key.as_deref().unwrap_or(none)) }
            dt { "Enqueued" } dd { (frame.time(letter.occurred_at)) }
            dt { "Dead" } dd { (frame.time(letter.dead_at)) }
            dt { "Attempts" } dd { (letter.attempts.map_or_else(|| NOT_KNOWN.to_owned(), |many| many.to_string())) }
            dt { "Code" } dd { code { (letter.code) } }
            dt { "Reason" } dd { (short(&letter.reason, REASON_CHARS_MAX)) }
            dt { "Headers" } dd { @if letter.headers.is_empty() { (none) } @else { (letter.headers.join(", ")) } }
            dt { "Size" } dd { (letter.body_bytes.map_or_else(|| NOT_KNOWN.to_owned(), |many| format!("{many} bytes"))) }
        }
        @if let (true, Some(event)) = (frame.may_repair(), &letter.event) {
            p { a.act href=(frame.link(&format!("/dead/redrive{}", query(&[("rpc", &letter.rpc), ("event", event)])))) { "Redrive…" } }
        }
        (crate::pages::drop::of_letter(frame, letter))
        (crate::pages::payload::form(frame, letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Demo;

    /// Guards promise 8: of a body that could not be read, the key and the headers are not known, and are not said to be none.
    #[test]
    fn what_could_not_be_read_is_not_none() {
        let viewer = crate::access::Viewer::default();
        let frame = Frame {
            base: "",
            title: "",
            version: "",
            viewer: &viewer,
            look: crate::look::Look::default(),
            path: "/",
            form_token: String::new(),
            now: Demo::clock(),
            clock: Demo::clock(),
            ask: &Demo,
        };
        let malformed = Letter { code: "malformed_message".to_owned(), ..Letter::default() };
        let read = Letter { event_name: Some("event_one".to_owned()), ..malformed.clone() };
        for (letter, none) in [(malformed, "not known"), (read, "none")] {
            let shown = page(&frame, &[letter]).0;
            for name in ["Key", "Headers"] {
                assert!(shown.contains(&format!("<dt>{name}</dt><dd>{none}</dd>")), "{shown}");
            }
        }
    }
}
