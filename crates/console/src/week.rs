//! How an RPC went in the last seven days, if a Prometheus has it.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SECONDS: i64 = 7 * 24 * 60 * 60;
/// Each number is about so long.
pub(crate) const STEP_SECONDS: i64 = 3 * 60 * 60;

/// How many seconds before the end, and the number.
pub(crate) type Points = Vec<(i64, i64)>;

/// By source, and by what the numbers say.
pub(crate) type Week = BTreeMap<String, BTreeMap<String, Points>>;

/// The numbers, or why they are not known.
pub(crate) type Answer = Result<Arc<Week>, String>;

#[derive(Debug, Clone)]
pub(crate) struct Past {
    /// Host and port of the Prometheus.
    pub(crate) place: String,
    pub(crate) answer: Answer,
}
