use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One RPC in one worker, in the last five minutes. Counts of several workers can be added up, and percentiles can't.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FiveMinutes {
    /// Calls that ended, by their answer: `ok` or a Connect code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, u64>,
    /// The same calls by their time: at most so many seconds, and more than the bound before. `None` is above the last bound.
    /// Bounds without a call are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub took: Vec<(Option<f64>, u64)>,
    /// Deliveries that left the queue in a second, done or dead. `None` before a minute was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_per_second: Option<f64>,
    /// By how many messages the whole queue grows in a second. `None` before a minute was measured, if this worker does not
    /// measure the queue, and where counting stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grows_per_second: Option<f64>,
}
