//! What an operator sets for an RPC for a time: a pause, or other limits than those of event_router.yaml.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// No brake lasts longer. SQS keeps a message for four days, so none is lost in one pause.
pub const BRAKE_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Longer reasons are cut.
pub const WHY_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Brake {
    /// No worker calls the RPC.
    Pause,
    /// Each worker has these in place of those in event_router.yaml; `None` leaves one as it is there.
    Limit { concurrency: Option<u32>, rate_per_second: Option<u32> },
}

/// An RPC has one brake of each kind at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrakeKind {
    Pause,
    Limit,
}

impl Brake {
    pub fn kind(self) -> BrakeKind {
        match self {
            Self::Pause => BrakeKind::Pause,
            Self::Limit { .. } => BrakeKind::Limit,
        }
    }

    /// Nothing for a kind that this version does not know.
    pub fn parse(kind: &str, concurrency: Option<u32>, rate_per_second: Option<u32>) -> Option<Self> {
        match kind {
            "pause" => Some(Self::Pause),
            "limit" => Some(Self::Limit { concurrency, rate_per_second }),
            _ => None,
        }
    }

    /// Both numbers of a limit.
    pub fn limits(self) -> (Option<u32>, Option<u32>) {
        match self {
            Self::Pause => (None, None),
            Self::Limit { concurrency, rate_per_second } => (concurrency, rate_per_second),
        }
    }
}

impl BrakeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Limit => "limit",
        }
    }
}

/// A brake as workers read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Braked {
    pub rpc: String,
    pub brake: Brake,
    /// How long it still lasts.
    pub left: Duration,
}

/// Where workers read what is set.
pub trait Brakes: Send + Sync + 'static {
    /// Returns when a read is cheap right now, and so may come earlier.
    fn convenient(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The brakes of all RPCs that have not ended.
    fn brakes(&self) -> impl Future<Output = Result<Vec<Braked>, BrakesError>> + Send;
}

#[derive(Debug, thiserror::Error)]
#[error("pauses and limits can't be read")]
pub struct BrakesError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl BrakesError {
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}
