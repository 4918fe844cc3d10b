//! Events that tests publish, and their subscribers.

use outbox::Event;

pub(crate) const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 2s
        concurrency: 64
        max_attempts: 5
        backoff: { min: 20ms, max: 200ms }
  - name: event_two
    subscriber:
      - id: Test/TwoA
      - id: Other/TwoB
";

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct One {
    pub(crate) n: i64,
}

impl Event for One {
    const NAME: &'static str = "event_one";
}

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Two {
    pub(crate) n: i64,
}

impl Event for Two {
    const NAME: &'static str = "event_two";
}
