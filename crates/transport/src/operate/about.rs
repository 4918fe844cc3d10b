//! What an operator knows of a message: conditions on its event and on the reason of its failure.

use outbox_event::Message;

/// Every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub key: Option<String>,
    /// The event's name.
    pub name: Option<String>,
    pub header: Option<(String, String)>,
    /// A part of the reason or of the last error.
    pub reason: Option<String>,
}

impl About {
    /// Whether the body must be read.
    pub fn is_of_event(&self) -> bool {
        self.key.is_some() || self.name.is_some() || self.header.is_some()
    }

    /// Whether a message fits. A body that can't be read fits no condition on its event.
    pub fn fits(&self, reason: &str, body: &str) -> bool {
        if !self.reason.as_deref().is_none_or(|part| reason.contains(part)) {
            return false;
        }
        if !self.is_of_event() {
            return true;
        }
        let Ok(Message { event, .. }) = Message::decode(body) else { return false };
        let header = self.header.as_ref().map(|(name, _)| event.headers.get(name).map(String::as_str));
        self.fits_event(Some(&event.name), event.key.as_deref(), header.flatten())
    }

    /// As [`About::fits`], for an event of which these are known; `header` is the value of the header that is asked for.
    pub fn fits_event(&self, name: Option<&str>, key: Option<&str>, header: Option<&str>) -> bool {
        let same = |wanted: Option<&str>, is: Option<&str>| wanted.is_none_or(|wanted| is == Some(wanted));
        same(self.name.as_deref(), name)
            && same(self.key.as_deref(), key)
            && same(self.header.as_ref().map(|(_, value)| value.as_str()), header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"rpc":"A/B","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_one","key":"k-1","occurred_at":"2026-11-22T03:04:05.678Z","headers":{"tenant":"t-9"},"payload":{}}}"#;

    /// Guards promise 8: a message fits if every condition holds, and a malformed one fits none on its event.
    #[test]
    fn every_condition_must_hold() {
        let text = |text: &str| Some(text.to_owned());
        let header = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        let any = About::default();
        for (about, fits, fits_malformed) in [
            (any.clone(), true, true),
            (About { key: text("k-1"), ..any.clone() }, true, false),
            (About { key: text("k"), ..any.clone() }, false, false),
            (About { name: text("event_one"), ..any.clone() }, true, false),
            (About { name: text("event_two"), ..any.clone() }, false, false),
            (About { header: header("tenant", "t-9"), ..any.clone() }, true, false),
            (About { header: header("tenant", "t-8"), ..any.clone() }, false, false),
            (About { header: header("other", "t-9"), ..any.clone() }, false, false),
            (About { reason: text("such"), ..any.clone() }, true, true),
            (About { reason: text("%"), ..any.clone() }, false, false),
            (About { reason: text("such"), key: text("k-2"), ..any }, false, false),
        ] {
            assert_eq!(about.fits("no such card", BODY), fits, "{about:?}");
            assert_eq!(about.fits("no such card", "{"), fits_malformed, "{about:?}");
        }
    }
}
