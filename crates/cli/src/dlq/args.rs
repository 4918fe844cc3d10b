//! What `outbox dlq` takes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::Filter;

use super::hiding::Hiding;
use crate::about::AboutArgs;
use crate::ago::time;
use crate::options::Options;
use crate::repair::{Beside, RepairArgs, RuleArgs, WhyArgs};

pub(super) const EXIT_STATUS: &str = "Exit status: 0 done; 1 failed in part, interrupted, or no such dead letter: what was not moved is where it was; 2 unusable arguments; 3 a database or AWS can't be reached.";

/// Counts dead letters in groups of one RPC, code and reason.
///
/// In reasons numbers, ids and quotations are masked. It reads 100,000 letters at most, and says if there are more.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Summary {
    /// Letters of this RPC only.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Option<Rpc>,

    /// Letters that died from this time on: 2026-11-22T03:04:05Z, or 1h (ago).
    #[arg(long, value_parser = time, value_name = "TIME")]
    pub(super) since: Option<DateTime<Utc>>,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Lists dead letters, with the reason of each.
///
/// The last ones that died are the first. On SQS a letter can only be read by receiving it, so each is hidden from others for a
/// moment; and SQS gives them in no order, so only those that were read are sorted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct List {
    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,

    /// The oldest first. By default the last ones that died are shown first.
    #[arg(long)]
    pub(super) oldest_first: bool,

    #[command(flatten)]
    pub(super) which: Which,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Shows one dead letter, with its payload only on request.
///
/// Without an id it shows the first one that fits the filters. Every database counts its own letters. All letters with this
/// number are shown; in JSON they are several objects.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Show {
    /// The id that `outbox dlq list` shows.
    pub(super) id: Option<String>,

    /// The newest one that fits.
    #[arg(long)]
    pub(super) newest: bool,

    /// Print the payload, too. It may contain personal data or secrets, so `outbox audit` keeps who looked.
    #[arg(long)]
    pub(super) payload: bool,

    #[command(flatten)]
    why: WhyArgs,

    #[command(flatten)]
    pub(super) hiding: Hiding,

    #[command(flatten)]
    pub(super) which: Which,

    #[command(flatten)]
    pub(super) options: Options,
}

/// Delivers dead letters again.
///
/// Each goes back into the queue of its RPC, with its attempts counted from the beginning. An RPC that succeeded meanwhile is
/// not called again, because the worker finds the record. Eight letters are moved at a time: on Postgres in one
/// transaction, on SQS each by itself. What dies after the beginning is left alone. One redrive runs at a time for an RPC.
/// While it runs, `outbox repair` shows it to every operator, changes its rate, pauses and stops it. Later it continues it, or
/// takes back what has not begun.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "After an outage: outbox dlq redrive --rpc NotificationService/NotifyHogeUpdated --code unavailable\n\nExit status: 0 all were moved; 1 not all, or interrupted; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(super) struct Redrive {
    #[command(flatten)]
    pub(super) few: Few,

    /// How many per second, from 1 to 10000. A higher value is sooner done. A lower one spares a service that has just come back.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rate: u32,

    /// Forget a past success first: the RPC runs again even if it had succeeded for the event.
    #[arg(long)]
    pub(super) force: bool,

    #[command(flatten)]
    pub(super) rule: RuleArgs,

    #[command(flatten)]
    pub(super) beside: Beside,

    #[command(flatten)]
    pub(super) which: Which,

    #[command(flatten)]
    pub(super) repair: RepairArgs,
}

/// Drops dead letters for good.
///
/// The events stay in the outbox until retention, for `outbox replay`. Eight are dropped at a time: on Postgres in one
/// transaction, on SQS each by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Drop {
    #[command(flatten)]
    pub(super) few: Few,

    #[command(flatten)]
    pub(super) beside: Beside,

    #[command(flatten)]
    pub(super) which: Which,

    #[command(flatten)]
    pub(super) repair: RepairArgs,
}

/// Which dead letters: every given condition must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct Which {
    /// Letters of this RPC, by its name in event_router.yaml.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Option<Rpc>,

    /// Letters of this event.
    #[arg(long, value_name = "ID")]
    pub(super) event: Option<EventId>,

    /// Letters with this code: invalid_argument, unavailable, malformed_message, redrive_policy …
    #[arg(long, value_name = "CODE")]
    pub(super) code: Option<String>,

    /// Letters that are dead for longer than this: 1h, 2days.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(super) older_than: Option<Duration>,

    /// Letters whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,

    /// Letters that were dead at this time, by the clock that gave them their times. --dry-run prints it, and the console passes it.
    #[arg(long, hide = true, value_name = "TIME")]
    pub(super) dead_by: Option<DateTime<Utc>>,

    #[command(flatten)]
    about: AboutArgs,
}

/// Only some of them.
#[derive(Debug, clap::Args)]
pub(super) struct Few {
    /// So many at most, the oldest first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// With --limit: the newest. SQS has no order: there it is refused.
    #[arg(long, requires = "limit")]
    newest: bool,
}

impl Few {
    pub(super) fn of(&self, filter: Filter) -> Filter {
        Filter { limit: self.limit, newest_first: self.newest, ..filter }
    }
}

impl Which {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            rpc: self.rpc.clone(),
            event: self.event,
            code: self.code.clone(),
            older_than: self.older_than,
            dead_by: self.dead_by,
            about: self.about.with_reason(self.reason.as_ref()),
            ..Filter::default()
        }
    }
}

pub(crate) fn rpc(text: &str) -> Result<Rpc, String> {
    Rpc::new(text).ok_or_else(|| "write Service/Method, as in event_router.yaml".to_owned())
}
