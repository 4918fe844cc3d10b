//! What `outbox queue` takes.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{Look, Stage, Which};

use crate::about::AboutArgs;
use crate::dlq::rpc;
use crate::options::Options;
use crate::repair::{Consent, RepairArgs, WhyArgs};

pub(super) const EXIT_STATUS: &str = "Exit status: 0 done; 1 failed in part, interrupted, or not possible on this transport; 2 unusable arguments; 3 a database or AWS can't be reached.";

/// Lists what is in the queues, the oldest first, or counts it.
///
/// Without --rpc it lists all queues. It looks at 100,000 messages at most, and says where it stopped. Payloads are never shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Which events fail, and why: outbox queue list --rpc LedgerService/Post --state retrying\nWhose messages wait: outbox queue list --rpc LedgerService/Post --by header:tenant\n\nExit status: 0 done; 1 not possible on this transport, or interrupted; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(super) struct List {
    /// In the queue of this RPC, with or without a route.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Option<Rpc>,

    /// In this state only.
    #[arg(long, value_enum)]
    pub(super) state: Option<State>,

    /// Count instead: by `reason` (numbers, ids and quotations masked), `name`, `key`, or `header:NAME`.
    #[arg(long, value_name = "WHAT", value_parser = by)]
    pub(super) by: Option<By>,

    /// The newest first.
    #[arg(long)]
    pub(super) newest: bool,

    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,

    #[command(flatten)]
    pub(super) which: Meant,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Tries again at once what waits for its next attempt.
///
/// Attempts go on counting. How many are called at a time is limited as ever, by `concurrency` and the breaker.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "After a repair: outbox queue retry --rpc LedgerService/Post --all\n\nExit status: 0 done; 1 failed in part, interrupted, or not possible on this transport; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(super) struct Retry {
    /// In the queue of this RPC.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Rpc,

    #[command(flatten)]
    pub(super) which: Meant,

    #[command(flatten)]
    pub(super) repair: RepairArgs,
}

/// Makes dead letters of what waits or is retried, now.
///
/// What a worker calls at this moment stays, and so does what is done. `outbox dlq redrive` takes it back. A message in the log
/// can only be changed after all before it were moved to the retries: they are delivered from there.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A poison event: outbox queue give-up --rpc LedgerService/Post --event ID --reason \"ticket 17\"\n\nExit status: 0 done; 1 failed in part, interrupted, or not possible on this transport; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(super) struct GiveUp {
    /// In the queue of this RPC.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Rpc,

    /// In this state only. [default: waiting, retrying and held]
    #[arg(long, value_enum)]
    pub(super) state: Option<Uncalled>,

    /// Why, for the dead letter and the history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(super) reason: String,

    #[command(flatten)]
    pub(super) which: Meant,

    #[command(flatten)]
    pub(super) repair: RepairArgs,
}

/// Moves what waits, is retried or is dead in one RPC's queue to another's, for an RPC with another name.
///
/// Messages keep their attempts and their age, and dead letters stay dead. What was done under the old name is not called again
/// under the new one. What a worker calls at this moment stays, until its lease has ended: run it again. There is no way back for
/// single messages, because they can no longer be distinguished from those that the new queue had.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Rename {
    /// The old name.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) from: Rpc,

    /// The new name, as event_router.yaml has it.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) to: Rpc,

    /// Only print how many.
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) consent: Consent,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Removes the queue of an RPC without a route, and drops what is in it for good.
///
/// It fails while event_router.yaml has the RPC, or a running relay or worker. `outbox why` shows what was dropped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Remove {
    /// The RPC, as `outbox status` shows it.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Rpc,

    /// Only print how many.
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    why: WhyArgs,

    #[command(flatten)]
    pub(super) consent: Consent,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Which messages: every given condition must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct Meant {
    /// Of this event.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,

    /// Whose last attempt ended with this code: unavailable, internal …
    #[arg(long, value_name = "CODE")]
    pub(super) code: Option<String>,

    /// Whose last error contains this text.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,

    #[command(flatten)]
    pub(super) about: AboutArgs,
}

impl Meant {
    pub(super) fn which(&self) -> Which {
        Which {
            stage: None,
            event: self.event,
            code: self.code.clone(),
            about: self.about.with_reason(self.error.as_ref()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    /// A worker may receive it now.
    Waiting,
    /// It waits for its next attempt.
    Retrying,
    /// Its RPC refuses different events alike, so that nothing is dead-lettered.
    Held,
    /// In a queue that no running worker serves.
    Nobody,
    /// A worker has it.
    Calling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Uncalled {
    Waiting,
    Retrying,
    Held,
}

impl State {
    pub(super) fn stage(self) -> Option<Stage> {
        match self {
            Self::Waiting => Some(Stage::Waiting),
            Self::Retrying => Some(Stage::Retrying),
            Self::Held => Some(Stage::Held),
            Self::Calling => Some(Stage::Calling),
            Self::Nobody => None,
        }
    }
}

impl Uncalled {
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Waiting => Stage::Waiting,
            Self::Retrying => Stage::Retrying,
            Self::Held => Stage::Held,
        }
    }
}

/// The parts of a queue that hold messages of this state; all without one.
pub(super) fn look(rpc: &Rpc, stage: Option<Stage>, header: Option<&str>, newest: bool) -> Look {
    let is = |which: &[Stage]| stage.is_none_or(|stage| which.contains(&stage));
    Look {
        rpc: rpc.clone(),
        due: is(&[Stage::Waiting]),
        later: is(&[Stage::Retrying, Stage::Held]),
        calling: is(&[Stage::Calling]),
        newest,
        header: header.map(str::to_owned),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    Reason,
    Name,
    Key,
    Header(String),
}

fn by(text: &str) -> Result<By, String> {
    match text.split_once(':') {
        None if text == "reason" => Ok(By::Reason),
        None if text == "name" => Ok(By::Name),
        None if text == "key" => Ok(By::Key),
        Some(("header", name)) if !name.is_empty() => Ok(By::Header(name.to_ascii_lowercase())),
        _ => Err("write reason, name, key, or header:NAME".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a list reads the parts of a queue that may hold its state, and no others.
    #[test]
    fn a_state_is_read_where_it_may_be() {
        let rpc = Rpc::new("A/B").unwrap();
        for (stage, expected) in [
            (None, (true, true, true)),
            (Some(Stage::Waiting), (true, false, false)),
            (Some(Stage::Retrying), (false, true, false)),
            (Some(Stage::Held), (false, true, false)),
            (Some(Stage::Calling), (false, false, true)),
        ] {
            let look = look(&rpc, stage, None, false);
            assert_eq!((look.due, look.later, look.calling), expected, "{stage:?}");
        }
        assert_eq!(by("header:Tenant"), Ok(By::Header("tenant".to_owned())));
        assert!(by("header:").is_err() && by("tenant").is_err());
    }
}
