use std::time::Duration;

/// The delivery policy of one RPC. Every part can be set per subscriber in `event_router.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long one call may take. Default 10 s.
    pub timeout: Duration,
    /// How many calls of this RPC one worker runs at a time. Default 16.
    pub concurrency: usize,
    /// How many calls of this RPC one worker begins in a second. Default: as many as `concurrency` permits.
    pub rate_per_second: Option<u32>,
    /// After this many attempts the delivery goes to the dead-letter queue. With the default backoff, the default of 20 lasts
    /// through an outage of about an hour.
    pub max_attempts: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
}

/// Exponential: the n-th wait is drawn between zero and `min * 2^(n-1)`, never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Default 1 s.
    pub min: Duration,
    /// Default 10 min.
    pub max: Duration,
}

impl Policy {
    /// A longer call could outlive the visibility of its message, which SQS limits to 12 h. An RPC that takes more than 15 min
    /// should answer at once and work on by itself.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
    pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
    pub const CONCURRENCY_MAX: usize = 1000;
    pub const RATE_PER_SECOND_MAX: u32 = 10_000;
    pub const MAX_ATTEMPTS_MAX: u32 = 100;
    /// SQS hides a message for at most 12 h.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(12 * 60 * 60);
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            concurrency: 16,
            rate_per_second: None,
            max_attempts: 20,
            backoff: Backoff::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(600) }
    }
}
