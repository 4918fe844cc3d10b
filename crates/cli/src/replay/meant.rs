//! Which events are to be replayed, and their RPCs.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use outbox_event::EventId;
use outbox_event_router::{Router, Rpc};
use outbox_postgres::operate::{Cursor, Database, Outbox, Span};
use outbox_transport::Entry;
use uuid::Uuid;

use crate::ago::{Given, given};
use crate::dlq::rpc;
use crate::options::Options;
use crate::repair::{Beside, Consent, WhyArgs};
use crate::stopped::Stopped;

/// Sends past events to their subscribers again, straight into their queues.
///
/// Without --run it only prints what it would send. Events come from the outbox, which keeps them for relay's --retention.
/// Events that are not put yet are left to the relay. An RPC that succeeded for an event in the last 21 days is not called
/// again, unless with --force. Each message has the header outbox-replay. Eight are sent at a time: on Postgres in one
/// transaction, on SQS each by itself.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true),
    after_help = "What a new subscriber missed today: outbox replay --since 12h --rpc LedgerService/Record --run\n\nExit status: 0 done, or shown; 1 failed in part, or interrupted; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(crate) struct Args {
    /// This event.
    #[arg(long, value_name = "ID", group = "which", conflicts_with_all = ["until", "event_name"])]
    pub(super) event: Option<EventId>,

    /// Events from this time on: 2026-11-22T03:04:05Z, or 1h (ago).
    #[arg(long, value_parser = given, value_name = "TIME", group = "which")]
    pub(super) since: Option<Given>,

    /// Events before this time. [default: now]
    #[arg(long, value_parser = given, value_name = "TIME")]
    pub(super) until: Option<Given>,

    /// Events of this name: event_hoge_updated.
    #[arg(long, value_name = "NAME")]
    pub(super) event_name: Option<String>,

    /// To this RPC only. [default: every subscriber in event_router.yaml]
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    pub(super) rpc: Option<Rpc>,

    /// Send them.
    #[arg(long)]
    pub(super) run: bool,

    /// How many messages per second.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rate: u32,

    /// Forget past successes first: the RPCs run again even if they had succeeded.
    #[arg(long)]
    pub(super) force: bool,

    /// Stop when so many of the sent ones are dead. It is looked at every two seconds.
    ///
    /// SQS does not tell them from what died before: there it is refused.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) stop_if_dead: Option<u32>,

    #[command(flatten)]
    pub(super) beside: Beside,

    #[command(flatten)]
    why: WhyArgs,

    #[command(flatten)]
    pub(super) consent: Consent,

    #[command(flatten)]
    pub(crate) options: Options,
}

pub(super) struct Replay<'a> {
    pub(super) args: &'a Args,
    pub(super) router: Router,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: DateTime<Utc>,
    pub(super) databases: &'a [Database],
}

/// The selected events of one outbox.
pub(super) struct Meant {
    pub(super) outbox: Outbox,
    pub(super) cursor: Cursor,
    pub(super) span: Span,
}

impl Replay<'_> {
    pub(super) async fn meant(&self) -> Result<Vec<Meant>, Stopped> {
        let mut meant = Vec::new();
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::terminal::say);
            // Read first, because the relay delivers what is put from here on.
            let cursor = outbox.cursor().await?;
            let span = match (self.args.event, self.since) {
                (Some(id), _) => outbox.find(id).await?.map(|event| Span::one(event.seq, id)),
                (None, Some(since)) => outbox.span(since, self.until, self.args.event_name.clone()).await?,
                (None, None) => None,
            };
            meant.extend(span.map(|span| Meant { outbox, cursor, span }));
        }
        match self.args.event {
            Some(id) if meant.is_empty() => Err(Stopped::failed(
                format!("{id} is in no outbox that was named"),
                format!("see {}", self.args.options.command(["why", &id.to_string()])),
            )),
            _ => Ok(meant),
        }
    }

    pub(super) fn subscribers(&self, name: &str) -> Vec<&Rpc> {
        let subscribers = self.router.subscribers(name).iter();
        subscribers.filter(|rpc| self.args.rpc.as_ref().is_none_or(|only| only == *rpc)).collect()
    }

    /// The same command with --run and absolute times, so that it means the same later.
    pub(super) fn command(&self) -> String {
        self.args.options.command(self.words())
    }

    /// As [`Replay::command`], without the installation.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["replay".to_owned()];
        if let Some(id) = self.args.event {
            words.extend(["--event".to_owned(), id.to_string()]);
        }
        if let Some(since) = self.since {
            words.extend(["--since".to_owned(), exact(since), "--until".to_owned(), exact(self.until)]);
        }
        if let Some(name) = &self.args.event_name {
            words.extend(["--event-name".to_owned(), name.clone()]);
        }
        if let Some(rpc) = &self.args.rpc {
            words.extend(["--rpc".to_owned(), rpc.to_string()]);
        }
        if self.args.rate != 100 {
            words.extend(["--rate".to_owned(), self.args.rate.to_string()]);
        }
        if self.args.force {
            words.push("--force".to_owned());
        }
        if self.args.consent.is_given() {
            words.push("--yes".to_owned());
        }
        if let Some(dead) = self.args.stop_if_dead {
            words.extend(["--stop-if-dead".to_owned(), dead.to_string()]);
        }
        words.push("--run".to_owned());
        words
    }
}

/// Leaves out what a replay has sent before: up to its place in each outbox, and on AWS the outboxes before that one.
pub(super) fn skip(meant: &mut Vec<Meant>, places: &[String]) {
    let places: Vec<(&str, i64, Uuid)> = places.iter().filter_map(|place| parsed(place)).collect();
    let [.., (source, _, _)] = places[..] else { return };
    if places.len() == 1
        && let Some(n) = meant.iter().position(|one| one.outbox.source() == source)
    {
        meant.drain(..n);
    }
    for one in meant {
        if let Some((_, seq, id)) = places.iter().find(|(source, ..)| *source == one.outbox.source()) {
            (one.span.seqs.first, one.span.after) = (*seq, Some(*id));
        }
    }
}

/// `name seq id`
pub(super) fn place(source: &str, last: &Entry) -> String {
    format!("{source} {} {}", last.seq, last.id)
}

fn parsed(place: &str) -> Option<(&str, i64, Uuid)> {
    let (rest, id) = place.rsplit_once(' ')?;
    let (source, seq) = rest.rsplit_once(' ')?;
    Some((source, seq.parse().ok()?, id.parse().ok()?))
}

/// The first event that would be sent.
pub(super) async fn oldest(meant: &[Meant]) -> Result<Option<Entry>, Stopped> {
    let mut oldest: Option<Entry> = None;
    for Meant { outbox, cursor, span } in meant {
        let first = outbox.page(cursor, span).await?.into_iter().next();
        oldest = first.into_iter().chain(oldest).min_by_key(|event| event.occurred_at);
    }
    Ok(oldest)
}

/// How many messages each RPC gets of each event.
pub(super) type Counts = BTreeMap<(String, Option<String>), i64>;

pub(super) fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
