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
    /// Whether the gauges change. An empty queue stays as it was shown: there may be thousands. `None` if this worker no longer
    /// measures.
    pub(super) fn is_news(&mut self, measured: Option<&Depth>, now: Instant) -> bool {
        match measured {
            Some(depth) => self.backlog.measured(depth, now),
            None => self.backlog.forget(),
        }
        let depth = &measured.copied().unwrap_or_default();
        self.oldest = depth.oldest;
        self.shown.replace(*depth) != Some(*depth) || depth.oldest.is_some()
    }
}
