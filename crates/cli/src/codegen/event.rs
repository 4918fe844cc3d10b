//! An event, as the generators need it.

use outbox_contract::EventType;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// `event_hoge_updated`.
    pub(super) name: String,
    /// `EVENT_HOGE_UPDATED`: an identifier in each language, and unique.
    pub(super) value: String,
    /// The message without its package: `HogeUpdatedEvent`.
    pub(super) message: String,
    /// `hoge.v1.HogeUpdatedEvent`.
    pub(super) full_name: String,
    /// `hoge/v1/hoge_event.proto`.
    pub(super) file: String,
    /// The key's field, as proto names it.
    pub(super) key: Option<String>,
}

impl From<&EventType> for Event {
    fn from(event: &EventType) -> Self {
        Self {
            name: event.name.clone(),
            value: event.value.name().to_owned(),
            message: event.message.name().to_owned(),
            full_name: event.message.full_name().to_owned(),
            file: event.message.parent_file().name().to_owned(),
            key: event.key.as_ref().map(|field| field.name().to_owned()),
        }
    }
}

/// Three events: one with a key, one without, and one whose name has digits and underscores.
#[cfg(test)]
pub(super) fn sample() -> Vec<Event> {
    let event = |name: &str, message: &str, key: Option<&str>| Event {
        name: name.to_owned(),
        value: name.to_uppercase(),
        message: message.to_owned(),
        full_name: format!("acme.v1.{message}"),
        file: "acme/v1/acme_event.proto".to_owned(),
        key: key.map(str::to_owned),
    };
    vec![
        event("event_oauth2_granted", "OAuth2GrantedEvent", None),
        event("event_card_issued", "CardIssuedEvent", Some("card_id")),
        event("event_v_2_a1", "V2A1Event", Some("number")),
    ]
}
