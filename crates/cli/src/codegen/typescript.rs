//! TypeScript, for the messages of protoc-gen-es.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::event::Event;

const HEAD: &str = "\
// Written by `outbox codegen`. Do not edit it.
// Each event, for `enqueue` of @outbox/pg: its name, its message, and the field of its key.
";

/// `messages` is the directory of the generated messages, as an import names it.
pub(super) fn events(events: &[Event], messages: &str) -> String {
    let mut text = HEAD.to_owned();
    let mut files: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        files.entry(&event.file).or_default().push(event);
    }
    for (file, of_file) in files {
        let names: Vec<String> = of_file.iter().map(|event| imported(event, events)).collect();
        let stem = file.strip_suffix(".proto").unwrap_or(file);
        let path = quoted(&format!("{}/{stem}_pb.js", messages.trim_end_matches('/')));
        let _ = writeln!(text, "import {{ {} }} from {path};", names.join(", "));
    }
    for event in events {
        let key = event.key.as_deref().map_or_else(|| "undefined".to_owned(), quoted);
        let _ = write!(
            text,
            "\nexport const {} = {{ name: {}, schema: {}, key: {key} }} as const;\n",
            event.value,
            quoted(&event.name),
            schema(event, events)
        );
    }
    text
}

/// Two packages may have messages of one name. Then the event's value is part of the local name.
fn schema(event: &Event, events: &[Event]) -> String {
    let is_unique = events.iter().filter(|other| other.message == event.message).count() == 1;
    if is_unique { format!("{}Schema", event.message) } else { format!("{}_Schema", event.value) }
}

fn imported(event: &Event, events: &[Event]) -> String {
    let (exported, local) = (format!("{}Schema", event.message), schema(event, events));
    if exported == local { exported } else { format!("{exported} as {local}") }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("texts serialize")
}

#[cfg(test)]
mod tests {
    use super::super::event::sample;
    use super::*;

    /// Guards: what is written, with the directory of the messages.
    #[test]
    fn events_are_constants() {
        let expected = r#"// Written by `outbox codegen`. Do not edit it.
// Each event, for `enqueue` of @outbox/pg: its name, its message, and the field of its key.
import { OAuth2GrantedEventSchema, CardIssuedEventSchema, V2A1EventSchema } from "../gen/acme/v1/acme_event_pb.js";

export const EVENT_OAUTH2_GRANTED = { name: "event_oauth2_granted", schema: OAuth2GrantedEventSchema, key: undefined } as const;

export const EVENT_CARD_ISSUED = { name: "event_card_issued", schema: CardIssuedEventSchema, key: "card_id" } as const;

export const EVENT_V_2_A1 = { name: "event_v_2_a1", schema: V2A1EventSchema, key: "number" } as const;
"#;
        assert_eq!(events(&sample(), "../gen/"), expected);
    }

    /// Guards: two messages of one name do not collide.
    #[test]
    fn namesakes_have_names_of_their_own() {
        let mut two = sample();
        two.truncate(2);
        two[0].message = "CardIssuedEvent".to_owned();
        two[0].file = "other.proto".to_owned();
        let text = events(&two, ".");
        for line in [
            r#"import { CardIssuedEventSchema as EVENT_CARD_ISSUED_Schema } from "./acme/v1/acme_event_pb.js";"#,
            r#"import { CardIssuedEventSchema as EVENT_OAUTH2_GRANTED_Schema } from "./other_pb.js";"#,
            r"schema: EVENT_OAUTH2_GRANTED_Schema,",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
