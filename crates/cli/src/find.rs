//! `outbox find`: events by key, name or header.

use std::collections::HashMap;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use outbox_event::{EventId, Message};
use outbox_postgres::operate::{Database, Found, Outbox};
use outbox_transport::operate::{About, At, Filter, LOOKED_AT_MAX, Operator, thousands};
use serde::Serialize;

use crate::about::AboutArgs;
use crate::ago::{self, Given, given};
use crate::filter;
use crate::options::Options;
use crate::pace::interrupted;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, moment_of, or_dash, table};
use crate::stopped::Stopped;
use crate::transport::{self, Work};

const KEY_CHARS_MAX: usize = 100;
/// So many rows of the outbox are read.
const READ_MAX: i64 = 2_000_000;

/// Finds events by key, name or header, the newest first.
///
/// It searches the outbox, which keeps events for relay's --retention, the parked events and the dead letters. Payloads and values of
/// headers are never shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What happened to a card today: outbox find --key card-7 --since 1day\n\nExit status: 0 found; 1 none was found, or not all was searched; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
pub(crate) struct Args {
    #[command(flatten)]
    about: AboutArgs,

    /// Events from this time on: 2026-11-22T03:04:05Z, or 1h (ago).
    #[arg(long, value_parser = given, value_name = "TIME", default_value = "1h")]
    since: Given,

    /// Events before this time. [default: now]
    #[arg(long, value_parser = given, value_name = "TIME")]
    until: Option<Given>,

    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// An event; the names are stable.
#[derive(Debug, Serialize)]
struct Listed {
    source: String,
    event: EventId,
    name: String,
    key: Option<String>,
    occurred_at: At,
    parked: bool,
    /// The RPCs at which it is dead.
    dead: Vec<String>,
}

/// The names are stable.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// The newest first.
    events: &'a [Listed],
    /// There are more than --limit.
    more: bool,
    /// Every event and every dead letter of that time was searched. Without it, an event that is not among them may exist.
    whole: bool,
    /// Without a database only dead letters are searched.
    outbox_searched: bool,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let about = args.about.with_reason(None);
    if !about.is_of_event() {
        return Err(Stopped::unusable(
            "`outbox find` needs a condition",
            "pass --key, --name or --header (every given condition must hold)",
        ));
    }
    let databases = args.options.databases().await?;
    let now = ago::now(&databases).await?;
    let (since, until) = (args.since.by(now), args.until.map_or(now, |until| until.by(now)));
    if since >= until {
        return Err(Stopped::unusable("--since is not before --until", "swap them, or leave --until out"));
    }
    let find = Find {
        args,
        about,
        since,
        until,
        databases: &databases,
        listed: Vec::new(),
        places: HashMap::new(),
        whole: true,
    };
    transport::work(&args.options, &databases, find).await
}

struct Find<'a> {
    args: &'a Args,
    about: About,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    databases: &'a [Database],
    listed: Vec<Listed>,
    /// Where in the list each event is.
    places: HashMap<EventId, usize>,
    /// Everything in the time was searched.
    whole: bool,
}

impl Work for Find<'_> {
    async fn on<O: Operator>(mut self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let limit = self.args.limit as usize;
        for database in self.databases {
            self.outbox(&Outbox::new(database.clone(), crate::terminal::say)).await?;
        }
        for transport in &mut transports {
            let went = self.letters(transport).await;
            transport.put_back().await;
            went?;
        }
        if self.listed.is_empty() {
            filter::found_nothing(&self.args.options, None, self.about.name.as_deref())?;
        }
        self.listed.sort_by_key(|one| std::cmp::Reverse(one.occurred_at.known()));
        let more = self.listed.len() > limit;
        self.listed.truncate(limit);
        let outbox_searched = !self.databases.is_empty();
        let answer = Answer { events: &self.listed, more, whole: self.whole, outbox_searched };
        self.args.options.answer(&answer, || self.text(more))?;
        let found = !self.listed.is_empty() && self.whole;
        Ok(if found || more { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Find<'_> {
    async fn outbox(&mut self, outbox: &Outbox) -> Result<(), Stopped> {
        let limit = i64::from(self.args.limit) + 1;
        let (since, until) = (self.since, self.until);
        for found in outbox.found_parked(&self.about, since, until, limit).await? {
            self.add(outbox.source(), found).parked = true;
        }
        let mut span = outbox.span(since, until, None).await?;
        let (mut here, mut left) = (0, READ_MAX);
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        while let Some(rest) = span.take() {
            let (found, more) = tokio::select! {
                found = outbox.found(&rest, &self.about, limit) => found?,
                () = &mut interrupted => {
                    self.whole = false;
                    return Ok(());
                }
            };
            left -= more.as_ref().map_or(0, |more| rest.seqs.last - more.seqs.last);
            here += i64::try_from(found.len()).unwrap_or(limit);
            for found in found {
                self.add(outbox.source(), found);
            }
            self.whole &= left > 0;
            span = more.filter(|_| here < limit && left > 0);
        }
        Ok(())
    }

    /// Their events may have left the outbox. Letters are not ordered by the times of their events. So all that fit are read, up to
    /// a number.
    async fn letters<O: Operator>(&mut self, transport: &mut O) -> Result<(), Stopped> {
        let filter = Filter { about: self.about.clone(), ..Filter::default() };
        let mut read = 0;
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        loop {
            let letters = tokio::select! {
                letters = transport.next(&filter) => letters?,
                () = &mut interrupted => {
                    self.whole = false;
                    return Ok(());
                }
            };
            if letters.is_empty() {
                return Ok(());
            }
            read += letters.len();
            for letter in &letters {
                let Ok(Message { event, .. }) = Message::decode(&letter.body) else { continue };
                if event.occurred_at < self.since || event.occurred_at >= self.until {
                    continue;
                }
                let found = Found {
                    id: event.id,
                    name: event.name.to_string(),
                    key: event.key.as_deref().map(str::to_owned),
                    occurred_at: event.occurred_at.into(),
                };
                let rpc = letter.rpc.to_string();
                let listed = self.add(transport.source(), found);
                if !listed.dead.contains(&rpc) {
                    listed.dead.push(rpc);
                }
            }
            if read >= LOOKED_AT_MAX {
                self.whole = false;
                return Ok(());
            }
        }
    }

    /// Each event once.
    fn add(&mut self, source: &str, found: Found) -> &mut Listed {
        let Found { id, name, key, occurred_at } = found;
        let at = *self.places.entry(id).or_insert_with(|| {
            self.listed.push(Listed {
                source: source.to_owned(),
                event: id,
                name,
                key,
                occurred_at,
                parked: false,
                dead: Vec::new(),
            });
            self.listed.len() - 1
        });
        &mut self.listed[at]
    }

    fn text(&self, more: bool) -> String {
        let mut lines = Vec::new();
        match self.listed.first() {
            None if self.whole && !self.databases.is_empty() => lines.push("No such events.".to_owned()),
            None => lines.push("No such events among those that were searched.".to_owned()),
            Some(first) => {
                let several = self.listed.iter().any(|one| one.source != first.source);
                let mut rows =
                    table(["EVENT", "TIME", "NAME", "KEY", "ALSO", if several { "SOURCE" } else { "" }]);
                for one in &self.listed {
                    let mut also: Vec<String> = one.dead.iter().map(|rpc| format!("dead at {rpc}")).collect();
                    also.extend(one.parked.then(|| "parked".to_owned()));
                    rows.add_row([
                        one.event.to_string(),
                        moment_of(one.occurred_at),
                        line(&one.name, NAME_CHARS_MAX),
                        or_dash(one.key.as_deref().map(|key| line(key, KEY_CHARS_MAX))),
                        or_dash(Some(also.join(", ")).filter(|also| !also.is_empty())),
                        if several { one.source.clone() } else { String::new() },
                    ]);
                }
                lines.push(rows.trim_fmt());
            }
        }
        if more {
            lines.push(format!("\nThere are more: --limit is {}.", self.args.limit));
        }
        if !self.whole {
            lines.push(format!(
                "\nNot all was searched: it stops after {} events and {} dead letters, or when it is interrupted (--since, --until).",
                thousands(READ_MAX),
                thousands(i64::try_from(LOOKED_AT_MAX).unwrap_or(i64::MAX))
            ));
        }
        if self.databases.is_empty() {
            lines.push("\nNo database given: only dead letters were searched (set DATABASE_URL).".to_owned());
        }
        if let Some(one) = self.listed.first() {
            let why = self.args.options.command(["why", &one.event.to_string()]);
            lines.push(format!("\nwhat became of the first: {why}"));
        }
        lines.join("\n")
    }
}
