use serde::Deserialize;

/// What `outbox doctor` found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) errors: i64,
    pub(crate) warnings: i64,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    pub(crate) severity: String,
    pub(crate) place: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Route {
    pub(crate) event: String,
    pub(crate) rpc: String,
    pub(crate) timeout_seconds: Option<f64>,
    pub(crate) concurrency: Option<i64>,
    pub(crate) rate_per_second: Option<i64>,
    pub(crate) max_attempts: Option<i64>,
    pub(crate) backoff_min_seconds: Option<f64>,
    pub(crate) backoff_max_seconds: Option<f64>,
}
