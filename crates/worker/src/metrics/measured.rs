mod backlog;

use std::collections::BTreeMap;

use backlog::Backlog;
use chrono::{DateTime, Utc};
use outbox_transport::Depth;
use tokio::time::Instant;

/// What operators see of a queue besides its metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) set_aside: BTreeMap<String, usize>,
    pub(crate) backlog: Backlog,
    shown: Option<Depth>,
}

impl Measured {
    /// What the gauges show next, if they change. An empty queue stays as it was shown: there may be thousands. Without a
    /// measurement another worker measures from now on.
    pub(super) fn news(&mut self, measured: Option<&Depth>, now: Instant) -> Option<Depth> {
        match measured {
            Some(depth) => self.backlog.measured(depth, now),
            None => self.backlog.forget(),
        }
        let depth = measured.copied().unwrap_or_default();
        self.oldest = depth.oldest;
        let changes = self.shown.replace(depth) != Some(depth) || depth.oldest.is_some();
        changes.then_some(depth)
    }
}
