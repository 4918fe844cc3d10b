//! Which packages have events: not every `enum Event` in a tree of proto files is ours, and two may have one name.

use std::collections::BTreeMap;

/// Which `enum Event` counts. Without a choice every one does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    packages: Vec<String>,
    by_event: BTreeMap<String, String>,
}

impl Selection {
    /// `packages` are the only ones with events, unless there are none. `by_event` has the packages that event_router.yaml names.
    pub fn new<'a>(packages: &[String], by_event: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let by_event = by_event.into_iter().map(|(event, package)| (event.to_owned(), package.to_owned()));
        Self { packages: packages.to_vec(), by_event: by_event.collect() }
    }

    /// The same packages with the choices of a router.
    #[must_use]
    pub fn with<'a>(&self, by_event: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(&self.packages, by_event)
    }

    /// Adds a package with events.
    pub fn add(&mut self, package: &str) {
        self.packages.push(package.to_owned());
    }

    /// Whether a package's `enum Event` is one of ours.
    pub(crate) fn counts(&self, package: &str) -> bool {
        self.packages.is_empty()
            || self.packages.iter().any(|named| named == package)
            || self.by_event.values().any(|named| named == package)
    }

    /// Whether an event of this name is meant that another package has.
    pub(crate) fn means_another(&self, event: &str, package: &str) -> bool {
        self.by_event.get(event).is_some_and(|named| named != package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: only packages that are named have events, and a name that two packages have means the chosen one.
    #[test]
    fn a_choice_leaves_out_the_others() {
        let cards = ["acme.card.v1".to_owned()];
        let chosen = [("event_card_issued", "acme.card.v2")];
        let (all, some) = (Selection::default(), Selection::new(&cards, chosen));
        let by_event = all.with(chosen);
        // (package, with no choice, with an event's package only, with both)
        for (package, none, event_only, both) in [
            ("acme.card.v1", true, true, true),
            ("acme.card.v2", true, true, true),
            ("analytics", true, true, false),
        ] {
            let counts = [all.counts(package), by_event.counts(package), some.counts(package)];
            assert_eq!(counts, [none, event_only, both], "{package}");
        }
        assert!(some.means_another("event_card_issued", "acme.card.v1"));
        assert!(!some.means_another("event_card_issued", "acme.card.v2"));
        assert!(!some.means_another("event_card_closed", "acme.card.v1"));
    }
}
