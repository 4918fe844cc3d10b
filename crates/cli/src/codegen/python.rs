//! Python. The messages name their own type, so the file imports none of them.

use std::fmt::Write;

use super::event::Event;

const HEAD: &str = "\
# Written by `outbox codegen`. Do not edit it.
\"\"\"Each event, for `enqueue` of outbox_client: its name, its message, and the field of its key.\"\"\"

from outbox_client import Event

";

pub(super) fn events(events: &[Event]) -> String {
    let mut text = HEAD.to_owned();
    for Event { value, name, full_name, key, .. } in events {
        let key = key.as_ref().map_or_else(|| "None".to_owned(), |key| format!("\"{key}\""));
        let _ = writeln!(text, "{value} = Event(name=\"{name}\", message_type=\"{full_name}\", key={key})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::event::sample;
    use super::*;

    /// Guards: what is written.
    #[test]
    fn events_are_constants() {
        let expected = r#"# Written by `outbox codegen`. Do not edit it.
"""Each event, for `enqueue` of outbox_client: its name, its message, and the field of its key."""

from outbox_client import Event

EVENT_OAUTH2_GRANTED = Event(name="event_oauth2_granted", message_type="acme.v1.OAuth2GrantedEvent", key=None)
EVENT_CARD_ISSUED = Event(name="event_card_issued", message_type="acme.v1.CardIssuedEvent", key="card_id")
EVENT_V_2_A1 = Event(name="event_v_2_a1", message_type="acme.v1.V2A1Event", key="number")
"#;
        assert_eq!(events(&sample()), expected);
    }
}
