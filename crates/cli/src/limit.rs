//! `outbox limit`: other limits for an RPC than those of event_router.yaml.

use std::process::ExitCode;
use std::time::Duration;

use outbox_event_router::{Policy, Rpc};
use outbox_transport::operate::Operator;
use outbox_transport::{Brake, BrakeKind};

use crate::brakes::{self, Wanted};
use crate::options::Options;
use crate::stopped::Stopped;
use crate::transport::{self, Work};

/// Sets the calls of an RPC for a time, in place of event_router.yaml.
///
/// It may be lower or higher than there. Each worker has this limit for itself, and follows within 5 s. Calls under way are
/// finished. A second limit replaces the whole first one. It ends by itself, or with --clear. `outbox status`, the metric
/// outbox_worker_limited and `outbox audit` show it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done; 1 failed, or --clear and it was not limited; 2 unusable arguments, or no such RPC; 3 a database or AWS can't be reached.\n\n  outbox limit --rpc LedgerService/Post --concurrency 2 --rate 20/s --for 2h --why 'its database is slow'\n  outbox limit --rpc LedgerService/Post --clear"
)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["concurrency", "rate", "clear"])))]
pub(crate) struct Args {
    /// The RPC, as event_router.yaml has it.
    #[arg(long, value_parser = crate::dlq::rpc, value_name = "SERVICE/METHOD")]
    rpc: Rpc,

    /// How many calls one worker has under way at a time: from 1 to 1000.
    #[arg(long, value_parser = concurrency, value_name = "N")]
    concurrency: Option<u32>,

    /// How many calls one worker begins in a second: from 1/s to 10000/s.
    #[arg(long, value_parser = rate, value_name = "N/s")]
    rate: Option<u32>,

    /// How long it lasts: 2days at most.
    #[arg(long = "for", default_value = "1h", value_parser = brakes::time, value_name = "TIME")]
    time: Duration,

    /// Why, for those who find it limited. Never a secret: it is shown and kept.
    #[arg(long, value_parser = brakes::why, required_unless_present = "clear", value_name = "TEXT")]
    why: Option<String>,

    /// End the limit: event_router.yaml holds again.
    #[arg(long, conflicts_with_all = ["concurrency", "rate", "why"])]
    clear: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    transport::work_on_queues(&args.options, Limit(args)).await
}

struct Limit<'a>(&'a Args);

impl Work for Limit<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Args { rpc, concurrency, rate, time, why, clear, options } = self.0;
        let wanted = Wanted { rpc, options };
        if *clear {
            let done = || format!("{rpc} is no longer limited; workers follow within 5s");
            return wanted.lift(&transports, BrakeKind::Limit, done).await;
        }
        let brake = Brake::Limit { concurrency: *concurrency, rate_per_second: *rate };
        let done = || {
            format!(
                "{rpc} is limited for {}; workers follow within 5s; to end it sooner: {}",
                humantime::format_duration(*time),
                options.command(["limit", "--rpc", rpc.as_str(), "--clear"])
            )
        };
        wanted.set(&transports, (brake, *time, why.as_deref().unwrap_or_default()), done).await
    }
}

fn concurrency(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("nothing would be called: use `outbox pause`".to_owned()),
        Ok(many) if many as usize <= Policy::CONCURRENCY_MAX => Ok(many),
        _ => Err(format!("a number from 1 to {}", Policy::CONCURRENCY_MAX)),
    }
}

/// `50/s` or `50`
fn rate(text: &str) -> Result<u32, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(0) => Err("nothing would be called: use `outbox pause`".to_owned()),
        Ok(rate) if rate <= Policy::RATE_PER_SECOND_MAX => Ok(rate),
        _ => Err(format!("a number from 1/s to {}/s", Policy::RATE_PER_SECOND_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// Guards promise 8: a limit names what it changes and why, zero is a pause, and clearing needs nothing else.
    #[test]
    fn arguments_that_contradict_each_other_are_refused() {
        for (line, refused) in [
            ("--concurrency 2 --why slow", None),
            ("--concurrency 2 --rate 50/s --for 2h --why slow", None),
            ("--rate 50 --why slow", None),
            ("--clear", None),
            ("--why slow", Some("required")),
            ("--concurrency 2", Some("--why")),
            ("--concurrency 0 --why slow", Some("use `outbox pause`")),
            ("--rate 0/s --why slow", Some("use `outbox pause`")),
            ("--concurrency 1001 --why slow", Some("from 1 to 1000")),
            ("--rate 10001 --why slow", Some("10000/s")),
            ("--rate 50/m --why slow", Some("10000/s")),
            ("--clear --concurrency 2 --why slow", Some("cannot be used with")),
            ("--concurrency 2 --why slow --for 3days", Some("at most 2days")),
        ] {
            let args = format!("limit --rpc A/B --router event_router.yaml {line}");
            let parsed = Cli::try_parse_from(args.split(' '));
            match refused {
                None => assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err()),
                Some(refused) => {
                    let error = parsed.unwrap_err().to_string();
                    assert!(error.contains(refused), "{line}: {error}");
                }
            }
        }
    }
}
