//! The command line of `outbox repair`.

use clap::Subcommand;
use outbox_transport::operate::RATE_MAX;
use uuid::Uuid;

use crate::options::Options;

/// Shows redrives, drops and replays, and paces, stops, continues or undoes them.
///
/// Each has an id, which it prints when it begins. Every operator sees its progress and may stop it. One whose command was killed is
/// silent after 30 s: it keeps no other away.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done; 1 there is no such repair, or it can't be done; 2 unusable arguments; 3 a database or AWS can't be reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    /// Shows a repair: who began it, with which command, and how far it is.
    Show(One),
    /// Asks a repair to stop.
    ///
    /// A running command stops within a few seconds, and what it has moved stays moved. A silent one is ended at once.
    Stop(One),
    Pace(Pace),
    /// Pauses a repair: its command waits and moves nothing.
    ///
    /// It does so after a few seconds, and until `outbox repair resume`. It still runs: it keeps another one away, and can be
    /// stopped. `outbox repair show` and `outbox status` say who paused it. Calls go on: to pause those of an RPC there is `outbox
    /// pause`.
    Pause(One),
    /// Lets a paused repair go on, at the rate that it had.
    Resume(One),
    /// Goes on with a repair that did not end.
    ///
    /// To continue means the same filter, bound and rate as at its end: what died since it first began is left alone. What was moved
    /// counts for --limit. A pause has ended. A repair is continued once, and has ended then; its id stands for the one that went on with it.
    Continue(One),
    Undo(Undo),
}

/// Lists repairs: those that run first, and then the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct List {
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Of `show`, `stop`, `pause`, `resume` and `continue`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct One {
    /// The id that it printed, and that `outbox repair list` shows.
    pub(super) id: Uuid,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Gives a running redrive or replay another rate.
///
/// Its command follows within a few seconds, and keeps that rate until the next one. A paused one stays paused. A drop calls no RPC
/// and has no rate. The command of the one who began it says who has asked, and so does `outbox repair show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Pace {
    /// The id of the repair.
    pub(super) id: Uuid,

    /// How many per second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    pub(super) rate: u32,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Takes back what a redrive or replay put into queues, and no worker has begun.
///
/// Dead letters are dead again, and stay three days at least, however old they are. Replayed events leave their queues. What had
/// begun can't be taken back. On SQS nothing can, because a message there can't be found again: pause the RPC instead (`outbox
/// pause`), or stop its server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Undo {
    /// The id of the repair.
    pub(super) id: Uuid,

    #[command(flatten)]
    pub(super) options: Options,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Guards promise 8: the help says of each command what that one does.
    #[test]
    fn each_command_has_help_of_its_own() {
        let command = <Command as Subcommand>::augment_subcommands(clap::Command::new("repair"));
        let helps: Vec<String> = command
            .get_subcommands()
            .map(|one| one.get_about().map(ToString::to_string).unwrap_or_default())
            .collect();
        assert_eq!(helps.iter().collect::<BTreeSet<_>>().len(), helps.len(), "{helps:#?}");
        let long =
            command.find_subcommand("stop").and_then(clap::Command::get_long_about).map(ToString::to_string);
        assert!(long.is_some_and(|long| long.contains("stays moved") && !long.contains("--limit")));
    }
}
