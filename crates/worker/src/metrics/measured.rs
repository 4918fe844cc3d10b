use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox_transport::Depth;

/// What operators see of a queue besides its metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) set_aside: BTreeMap<String, usize>,
    shown: Option<Depth>,
}

impl Measured {
    /// Whether the gauges change. An empty queue stays as it was shown: there may be thousands.
    pub(super) fn is_news(&mut self, depth: &Depth) -> bool {
        self.oldest = depth.oldest;
        self.shown.replace(*depth) != Some(*depth) || depth.oldest.is_some()
    }
}
