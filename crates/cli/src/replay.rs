//! `outbox replay`: events of the past, sent to their subscribers again.

mod plan; // what would be sent
mod send; // sending it

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use event::EventId;
use event_router::{Router, Rpc};
use outbox_postgres::operate::{Cursor, Database, Outbox, Span};
use outbox_transport::operate::Operator;

use crate::dlq::rpc;
use crate::options::{Format, Options};
use crate::print;
use crate::repair::{self, Consent};
use crate::show;
use crate::stopped::Stopped;
use crate::transport::{self, Work};
use plan::Plan;

/// Sends events of the past to their subscribers again, straight into their queues.
///
/// Without --run it only says what it would send. Events come from the outbox, which keeps them for relay's --retention;
/// those not put yet are left alone, they come by themselves. What an RPC has done in the last 21 days it is not called for
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
    event: Option<EventId>,

    /// Events from this time on: 2026-11-22T03:04:05Z, or 1h (ago).
    #[arg(long, value_parser = time, value_name = "TIME", group = "which")]
    since: Option<DateTime<Utc>>,

    /// Events before this time. [default: now]
    #[arg(long, value_parser = time, value_name = "TIME")]
    until: Option<DateTime<Utc>>,

    /// Events of this name: event_hoge_updated.
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,

    /// To this RPC only. [default: every subscriber in event_router.yaml]
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Send them.
    #[arg(long)]
    run: bool,

    /// How many messages per second.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// Forget first that they were done: the RPCs run again even if they had succeeded.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    consent: Consent,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let router = args.options.router_needed("it says who subscribes to what")?;
    if let Some(rpc) = &args.rpc
        && !router.rpcs().any(|(known, _)| known == rpc)
    {
        let known: Vec<&str> = router.rpcs().map(|(rpc, _)| rpc.as_str()).collect();
        let meant = finding::closest(rpc.as_str(), known.iter().copied());
        return Err(Stopped::unusable(
            format!("{} does not have {rpc}", args.options.router_file().display()),
            meant.map_or_else(
                || "`outbox routes` shows who subscribes".to_owned(),
                |meant| format!("did you mean {meant}?"),
            ),
        ));
    }
    let databases = args.options.outboxes().await?;
    transport::work(&args.options, &databases, Replay { args, router, databases: &databases }).await
}

struct Replay<'a> {
    args: &'a Args,
    router: Router,
    databases: &'a [Database],
}

/// What of one outbox is meant.
struct Meant {
    outbox: Outbox,
    cursor: Cursor,
    span: Span,
}

impl Work for Replay<'_> {
    async fn on<O: Operator>(self, lines: Vec<O>) -> Result<ExitCode, Stopped> {
        let until = self.args.until.unwrap_or_else(Utc::now);
        if self.args.since.is_some_and(|since| since >= until) {
            return Err(Stopped::unusable(
                "--since is not before --until",
                "swap them, or leave --until out",
            ));
        }
        let meant = self.meant(until).await?;
        let mut plan = Plan::of(&meant, &self).await?;
        plan.command = self.command(until);
        if !self.args.run {
            match self.args.format {
                Format::Json => show::json(&plan)?,
                Format::Table => print(&plan.text())?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        if self.args.force {
            self.args.consent.ask(
                "--force: what is recorded as done is forgotten, so that each RPC runs again even if it had succeeded",
            )?;
        }
        let repair = repair::begin(&lines, !self.args.force).await?;
        let sent = match send::all(&repair, &meant, &lines, &self, &plan).await {
            Ok(sent) => sent,
            Err(stopped) => {
                repair::end(repair, &lines, &stopped.problem).await;
                return Err(stopped);
            }
        };
        repair::end(repair, &lines, &sent).await;
        match self.args.format {
            Format::Json => show::json(&sent)?,
            Format::Table => print(&sent.text(&self, until))?,
        }
        Ok(if sent.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Replay<'_> {
    async fn meant(&self, until: DateTime<Utc>) -> Result<Vec<Meant>, Stopped> {
        let mut meant = Vec::new();
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::say);
            // Read first: what is put from here on is left to the relay.
            let cursor = outbox.cursor().await?;
            let span = match (self.args.event, self.args.since) {
                (Some(id), _) => outbox.find(id).await?.map(|event| Span::one(event.seq, id)),
                (None, Some(since)) => outbox.span(since, until, self.args.event_name.clone()).await?,
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

    /// Who gets events of this name.
    fn subscribers(&self, name: &str) -> Vec<&Rpc> {
        let subscribers = self.router.subscribers(name).iter();
        subscribers.filter(|rpc| self.args.rpc.as_ref().is_none_or(|only| only == *rpc)).collect()
    }

    /// The same, with --run: times as they are now, whenever that is pasted.
    fn command(&self, until: DateTime<Utc>) -> String {
        let mut words = Vec::new();
        if let Some(id) = self.args.event {
            words.extend(["--event".to_owned(), id.to_string()]);
        }
        if let Some(since) = self.args.since {
            words.extend(["--since".to_owned(), exact(since), "--until".to_owned(), exact(until)]);
        }
        self.command_with(words)
    }

    fn command_with(&self, which: Vec<String>) -> String {
        let mut words = vec!["replay".to_owned()];
        words.extend(which);
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
        words.push("--run".to_owned());
        self.args.options.command(words)
    }
}

/// How many messages each RPC gets of each event.
type Counts = BTreeMap<(String, Option<String>), i64>;

fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A time, or how long ago.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "write a time with its zone, 2026-11-22T03:04:05Z, or how long ago, 1h".to_owned())?;
    let ago = chrono::TimeDelta::from_std(ago).ok();
    ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).ok_or_else(|| "that is too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a time is taken as people write it, and nothing else is.
    #[test]
    fn times_are_absolute_or_ago() {
        let at = time("2026-11-22T03:04:05+09:00").unwrap();
        assert_eq!(exact(at), "2026-11-21T18:04:05.000000Z");
        let ago = (Utc::now() - time("1h 30m").unwrap()).num_seconds();
        assert!((5399..5402).contains(&ago), "{ago}");
        for bad in ["yesterday", "2026-11-22", "", "99999999999999years"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
