/// A service's name in event_router.yaml, and in full if proto has it. The environment may leave out packages, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub written: String,
    pub full: Option<String>,
}

/// How exactly a text names a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// It differs only in its package.
    Package,
    Written,
    Full,
}

impl Name {
    pub fn new(written: impl Into<String>, full: Option<String>) -> Self {
        Self { written: written.into(), full }
    }

    /// The full name if it is known, otherwise the one in event_router.yaml.
    pub fn known(&self) -> &str {
        self.full.as_deref().unwrap_or(&self.written)
    }

    /// Whether a text names this service, with or without its package.
    pub fn is(&self, text: &str) -> bool {
        self.matched(text).is_some()
    }

    pub(super) fn matched(&self, text: &str) -> Option<Match> {
        let full = self.known();
        if text == full {
            return Some(Match::Full);
        }
        if text == self.written {
            return Some(Match::Written);
        }
        let ends =
            |long: &str, short: &str| long.strip_suffix(short).is_some_and(|package| package.ends_with('.'));
        // If the full name is unknown here, the environment may have it.
        (ends(full, text) || (self.full.is_none() && ends(text, full))).then_some(Match::Package)
    }

    /// Whether a pattern such as `acme.billing.*` covers this service.
    pub(super) fn is_in(&self, pattern: &str) -> bool {
        let begins = pattern.strip_suffix('*').filter(|begins| !begins.is_empty());
        begins.is_some_and(|begins| self.known().starts_with(begins))
    }
}

pub(super) fn short(service: &str) -> &str {
    service.rsplit('.').next().unwrap_or(service)
}
