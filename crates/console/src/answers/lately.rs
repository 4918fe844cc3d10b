use std::collections::BTreeMap;

use serde::Deserialize;

/// An RPC in the last five minutes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FiveMinutes {
    pub(crate) codes: BTreeMap<String, u64>,
    pub(crate) took: Vec<Took>,
    pub(crate) p50: Option<Bound>,
    pub(crate) p99: Option<Bound>,
    pub(crate) come_per_second: Option<f64>,
    pub(crate) leave_per_second: Option<f64>,
}

/// Calls between two bounds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Took {
    pub(crate) more_than_seconds: f64,
    pub(crate) at_most_seconds: Option<f64>,
    pub(crate) calls: u64,
}

/// Without the second, a time is above the last bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Bound {
    pub(crate) more_than_seconds: f64,
    pub(crate) at_most_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Forecast {
    pub(crate) text: String,
}

impl Took {
    pub(crate) fn bound(&self) -> Bound {
        Bound { more_than_seconds: self.more_than_seconds, at_most_seconds: self.at_most_seconds }
    }
}
