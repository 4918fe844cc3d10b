//! `outbox poison`: an operator's decision about an RPC that is held.

use std::process::ExitCode;
use std::time::Duration;

use outbox_event_router::Rpc;
use outbox_transport::operate::{Count, Operator, POISON_MAX};
use serde::Serialize;

use crate::filter;
use crate::options::Options;
use crate::repair::{self, Consent};
use crate::show::{age, counted};
use crate::stopped::Stopped;
use crate::transport::{self, Work};

/// Declares that what an RPC refuses is poison: workers dead-letter it.
///
/// Workers hold an RPC after it refused different events alike, one after another, because a broken deploy looks the same. They
/// dead-letter nothing more until one succeeds. If the events are what is broken, this lets them go to the dead-letter queue,
/// from where `outbox dlq` redrives or drops them. Workers follow within 5 s.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done; 1 its queue is not made yet; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(crate) struct Args {
    /// The RPC, as event_router.yaml has it.
    #[arg(long, value_parser = crate::dlq::rpc, value_name = "SERVICE/METHOD")]
    rpc: Rpc,

    /// For how long none of its deliveries is held. Zero ends that.
    #[arg(long = "for", default_value = "1h", value_parser = time, value_name = "TIME")]
    time: Duration,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    options: Options,
}

/// The result; the names are stable.
#[derive(Debug, Serialize)]
struct Spoken {
    rpc: String,
    seconds: u64,
    /// In how many databases, or on SQS.
    changed: u64,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    transport::work_on_queues(&args.options, Say(args)).await
}

struct Say<'a>(&'a Args);

impl Work for Say<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Args { rpc, time, consent, options } = self.0;
        filter::rpc(options, &transports, Some(rpc)).await?;
        let how_long = humantime::format_duration(*time);
        if !time.is_zero() {
            let waiting = match consent.is_given() {
                true => String::new(),
                false => waiting(&transports, rpc).await?,
            };
            consent.ask(&format!("dead-letters whatever {rpc} refuses in the next {how_long}{waiting}"))?;
        }
        let repair = repair::begin(&options.asked, &transports, true).await?;
        let mut spoken = Spoken { rpc: rpc.to_string(), seconds: time.as_secs(), changed: 0 };
        for transport in &transports {
            match transport.poison(&repair, rpc, *time).await {
                Ok(changed) => spoken.changed += u64::from(changed),
                Err(error) => {
                    repair::end(repair, &transports, &error.problem).await;
                    return Err(error.into());
                }
            }
        }
        repair::end(repair, &transports, &spoken).await;
        if spoken.changed == 0 {
            return Err(Stopped::failed(
                format!("there is no queue of {rpc}"),
                "write it as `outbox status` shows it",
            ));
        }
        let text = match time.is_zero() {
            true => format!("{rpc} is held again when different events are refused alike"),
            false => {
                format!("what {rpc} refuses is dead-lettered for {how_long}; workers follow within 5s")
            }
        };
        options.answer(&spoken, || text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How many messages that may concern, and the oldest.
async fn waiting(transports: &[impl Operator], rpc: &Rpc) -> Result<String, Stopped> {
    let (mut count, mut oldest) = (Count::default(), None);
    for transport in transports {
        for depth in transport.depths(std::slice::from_ref(rpc)).await? {
            if depth.rpc == rpc.as_str() {
                count = count + depth.waiting + depth.retrying.unwrap_or_default();
                oldest = oldest.or(depth.oldest_seconds.zip(depth.oldest_event));
            }
        }
    }
    let oldest = oldest.map(|(seconds, event)| format!(", the oldest for {}: event {event}", age(seconds)));
    Ok(format!(" ({} wait{})", counted(count, "message"), oldest.unwrap_or_default()))
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= POISON_MAX => Ok(time),
        Ok(_) => Err("at most 30days".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
