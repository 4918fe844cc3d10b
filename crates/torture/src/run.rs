//! The parameters of a run: its transport, its seed, and its rate.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    Postgres,
    Aws,
}

/// Why a run was not possible.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The emulator of AWS, Terraform, or its provider is missing.
#[derive(Debug, thiserror::Error)]
#[error("the emulator of AWS could not be provisioned: {0}")]
pub(crate) struct NoCloud(pub(crate) Failure);

/// One run, with its seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) transport: Transport,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Postgres => "postgres",
            Transport::Aws => "aws",
        }
    }

    pub(crate) fn pace(self) -> Pace {
        match self {
            Transport::Postgres => Pace { open_max: 4000, bulk_max: 400, big_max: 200_000, heard_max: 200 },
            Transport::Aws => Pace { open_max: 300, bulk_max: 100, big_max: 100, heard_max: 100 },
        }
    }
}

/// Limits of what is published, because the emulator is slow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Publishers wait while more deliveries are open.
    pub(crate) open_max: usize,
    /// The most events of one transaction.
    pub(crate) bulk_max: usize,
    /// The most events of a big transaction that commits, and how many of these have a subscriber.
    pub(crate) big_max: i64,
    pub(crate) heard_max: usize,
}
