//! `outbox pause` and `outbox resume`: whether workers call an RPC.

use std::process::ExitCode;
use std::time::Duration;

use outbox_event_router::Rpc;
use outbox_transport::operate::Operator;
use outbox_transport::{Brake, BrakeKind};

use crate::brakes::{self, Wanted};
use crate::options::Options;
use crate::stopped::Stopped;
use crate::transport::{self, Work};

/// Pauses an RPC: no worker calls it, and its messages wait.
///
/// Nothing is lost: no message loses an attempt, and none is dead-lettered. Calls under way are finished. Workers follow within
/// 5 s, and other RPCs go on. On SQS a receive under way is cut off: what it may have received comes back after its visibility.
/// The pause ends by itself, or with `outbox resume`. A second one replaces the first. `outbox
/// status`, `outbox why`, the metric outbox_worker_paused and `outbox audit` show it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done; 1 failed; 2 unusable arguments, or no such RPC; 3 a database or AWS can't be reached.\n\n  outbox pause --rpc LedgerService/Post --for 30m --why 'a bad deploy, rolling back'"
)]
pub(crate) struct Args {
    /// The RPC, as event_router.yaml has it.
    #[arg(long, value_parser = crate::dlq::rpc, value_name = "SERVICE/METHOD")]
    rpc: Rpc,

    /// How long it lasts: 2days at most. It can be set again, but SQS keeps a message for four days, and Postgres for 14.
    #[arg(long = "for", default_value = "1h", value_parser = brakes::time, value_name = "TIME")]
    time: Duration,

    /// Why, for those who find it paused. Never a secret: it is shown and kept.
    #[arg(long, value_parser = brakes::why, value_name = "TEXT")]
    why: String,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// Ends the pause of an RPC: workers call it again within 5 s.
///
/// They begin with as many calls as event_router.yaml or `outbox limit` permits. If its server should get few at first, set a
/// limit before.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done; 1 it was not paused; 2 unusable arguments, or no such RPC; 3 a database or AWS can't be reached."
)]
pub(crate) struct ResumeArgs {
    /// The RPC, as event_router.yaml has it.
    #[arg(long, value_parser = crate::dlq::rpc, value_name = "SERVICE/METHOD")]
    rpc: Rpc,

    #[command(flatten)]
    pub(crate) options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    transport::work_on_queues(&args.options, Pause(args)).await
}

pub(crate) async fn resume(args: &ResumeArgs) -> Result<ExitCode, Stopped> {
    transport::work_on_queues(&args.options, Resume(args)).await
}

struct Pause<'a>(&'a Args);

impl Work for Pause<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Args { rpc, time, why, options } = self.0;
        let done = || {
            format!(
                "{rpc} is paused for {}; workers follow within 5s; to end it sooner: {}",
                humantime::format_duration(*time),
                options.command(["resume", "--rpc", rpc.as_str()])
            )
        };
        Wanted { rpc, options }.set(&transports, (Brake::Pause, *time, why), done).await
    }
}

struct Resume<'a>(&'a ResumeArgs);

impl Work for Resume<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let ResumeArgs { rpc, options } = self.0;
        let done = || format!("{rpc} is no longer paused; workers follow within 5s");
        Wanted { rpc, options }.lift(&transports, BrakeKind::Pause, done).await
    }
}
