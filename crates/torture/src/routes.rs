//! The torture's events and RPCs: a healthy RPC, one that fails at random, and one that refuses.

use std::time::Duration;

use serde::Serialize;

/// Changes of a few keys, in order, to two subscribers.
pub(crate) const CHANGED: &str = "event_changed";
/// Without a key.
pub(crate) const NOTED: &str = "event_noted";
/// Its RPC refuses some of these for good, by their payload.
pub(crate) const OFFERED: &str = "event_offered";
/// Written past `outbox.enqueue`, because no bus can carry it: the relay parks it.
pub(crate) const GARBLED: &str = "event_garbled";

/// Without a subscriber.
pub(crate) const UNHEARD: &str = "event_unheard";

/// The events with a route.
const EVENTS: [&str; 4] = [CHANGED, NOTED, OFFERED, GARBLED];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) enum Rpc {
    /// Answers at once.
    Steady,
    /// Is slow, and fails at random.
    Moody,
    /// Refuses events by their payload.
    Strict,
}

impl Rpc {
    pub(crate) const ALL: [Rpc; 3] = [Rpc::Steady, Rpc::Moody, Rpc::Strict];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Rpc::Steady => "SteadyService/Record",
            Rpc::Moody => "MoodyService/Try",
            Rpc::Strict => "StrictService/Accept",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rpc| rpc.name() == name)
    }

    pub(crate) fn service(self) -> &'static str {
        self.name().split('/').next().unwrap_or_default()
    }

    fn timeout(self) -> Duration {
        match self {
            Rpc::Steady => Duration::from_secs(10),
            Rpc::Moody => Duration::from_secs(1),
            Rpc::Strict => Duration::from_secs(5),
        }
    }
}

pub(crate) fn subscribers(event: &str) -> &'static [Rpc] {
    match event {
        CHANGED => &[Rpc::Steady, Rpc::Moody],
        OFFERED => &[Rpc::Strict],
        UNHEARD => &[],
        _ => &[Rpc::Steady],
    }
}

/// These routes as an event_router.yaml. Backoffs are short, so that a lot happens. Attempts are many, so that only refused
/// events die.
pub(crate) fn yaml() -> String {
    let mut yaml = "event:\n".to_owned();
    for event in EVENTS {
        yaml.push_str(&format!("  - name: {event}\n    subscriber:\n"));
        for rpc in subscribers(event) {
            yaml.push_str(&format!(
                "      - id: {}\n        timeout: {}s\n        concurrency: 16\n        max_attempts: 100\n        backoff: {{ min: 50ms, max: 1s }}\n",
                rpc.name(),
                rpc.timeout().as_secs()
            ));
        }
    }
    yaml
}
