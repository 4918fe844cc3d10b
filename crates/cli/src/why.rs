//! `outbox why`: the history of one event.

mod story; // the text for people

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use event::EventId;
use event_router::{Router, Rpc};
use outbox_postgres::operate::{
    Database, Leader, Outbox, Parked, ParkedFilter, Putting, Stored, Transaction, time_of,
};
use outbox_transport::operate::{At, Count, Delivery, Operator, SQS, State};
use serde::Serialize;

use crate::options::{Format, Options};
use crate::print;
use crate::show::{self};
use crate::stopped::Stopped;
use crate::transport::{self, Work};

const TRANSACTIONS_MAX: i64 = 20;

/// Shows the history of one event: enqueued, put, and what became of it at each subscriber.
///
/// If it is stuck, this shows the cause and the command that repairs it. It never prints the payload.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 it is done or under way; 1 something of it is dead, parked, or nowhere, or what became of it is not known; 2 unusable arguments; 3 a database or AWS can't be reached.\n\nThe id is what outbox::enqueue returned, the header Idempotency-Key of the RPC, and event_id in every log."
)]
pub(crate) struct Args {
    /// The event's id.
    #[arg(value_name = "EVENT_ID")]
    event: EventId,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

/// Everything known of an event; the names are stable.
#[derive(Debug, Serialize)]
struct Life {
    id: EventId,
    /// Whether an outbox has it; unknown without a database.
    found: Option<bool>,
    enqueued: Option<Enqueued>,
    put: Option<PutAt>,
    /// Why it is unknown whether it was put.
    put_not_known: Option<&'static str>,
    waiting: Option<Waiting>,
    parked: Option<Parked>,
    deliveries: Vec<SourceDelivery>,
    nowhere: Option<Nowhere>,
    /// The commands that repair it.
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Enqueued {
    source: String,
    name: String,
    key: Option<String>,
    payload_bytes: i32,
    occurred_at: At,
    seq: i64,
}

#[derive(Debug, Serialize)]
struct PutAt {
    /// `null` if the time is impossible, because a clock was set.
    at: Option<DateTime<Utc>>,
    /// The time in the cursor.
    #[serde(skip)]
    cursor_at: Option<DateTime<Utc>>,
    relay: String,
    /// Older cursors are gone.
    or_before: bool,
}

/// It is committed and not put yet.
#[derive(Debug, Serialize)]
struct Waiting {
    leader: Option<Leader>,
    events_ahead: Count,
    lag_seconds: f64,
}

#[derive(Debug, Serialize)]
struct SourceDelivery {
    source: String,
    #[serde(flatten)]
    delivery: Delivery,
}

/// No outbox has it: where it may still be, and why it may be nowhere.
#[derive(Debug, Default, Serialize)]
struct Nowhere {
    /// When its id was made.
    made_at: Option<DateTime<Utc>>,
    sources: Vec<NotIn>,
}

#[derive(Debug, Serialize)]
struct NotIn {
    source: String,
    oldest_event_at: Option<DateTime<Utc>>,
    writing_transactions: Vec<Transaction>,
    prepared_transactions: Vec<String>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let router = args.options.router()?;
    let databases = args.options.databases().await?;
    transport::work(&args.options, &databases, Ask { args, router, databases: &databases }).await
}

struct Ask<'a> {
    args: &'a Args,
    router: Option<Router>,
    databases: &'a [Database],
}

impl Work for Ask<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let id = self.args.event;
        let mut life = Life {
            id,
            found: (!self.databases.is_empty()).then_some(false),
            enqueued: None,
            put: None,
            put_not_known: None,
            waiting: None,
            parked: None,
            deliveries: Vec::new(),
            nowhere: None,
            commands: Vec::new(),
        };
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::say);
            if let Some(stored) = outbox.find(id).await? {
                life.tell(&outbox, stored).await?;
            }
            if life.parked.is_none() {
                let filter = ParkedFilter { ids: vec![id], ..ParkedFilter::default() };
                life.parked = outbox.parked(&filter, None, i64::MAX, 1).await?.into_iter().next();
            }
            if life.enqueued.is_some() || life.parked.is_some() {
                life.found = Some(true);
                break;
            }
        }
        let subscribers = self.subscribers(&life);
        for transport in &transports {
            let ours = life.enqueued.as_ref().is_none_or(|enqueued| enqueued.source == transport.source());
            if ours || transport.source() == SQS {
                let put_at = life.put.as_ref().and_then(|put| put.cursor_at);
                let of = transport.of(id, &subscribers, put_at).await?;
                let source = transport.source().to_owned();
                life.deliveries.extend(
                    of.into_iter().map(|delivery| SourceDelivery { source: source.clone(), delivery }),
                );
            }
        }
        life.settle(&self.args.options);
        if life.found == Some(false) {
            life.nowhere = Some(self.nowhere(id).await?);
        }
        match self.args.format {
            Format::Json => show::json(&life)?,
            Format::Table => print(&story::tell(&life))?,
        }
        Ok(if life.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Ask<'_> {
    /// The RPCs that should get it; all RPCs if its name is unknown.
    fn subscribers(&self, life: &Life) -> Vec<Rpc> {
        let Some(router) = &self.router else { return Vec::new() };
        let name = life.enqueued.as_ref().map(|enqueued| &enqueued.name);
        match name.or(life.parked.as_ref().map(|parked| &parked.name)) {
            Some(name) => router.subscribers(name).to_vec(),
            None => router.rpcs().map(|(rpc, _)| rpc.clone()).collect(),
        }
    }

    async fn nowhere(&self, id: EventId) -> Result<Nowhere, Stopped> {
        let mut sources = Vec::new();
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::say);
            sources.push(NotIn {
                source: outbox.source().to_owned(),
                oldest_event_at: outbox.oldest().await?,
                writing_transactions: outbox.transactions(true, TRANSACTIONS_MAX).await?,
                prepared_transactions: outbox.prepared(TRANSACTIONS_MAX).await?,
            });
        }
        Ok(Nowhere { made_at: time_of(id), sources })
    }
}

impl Life {
    async fn tell(&mut self, outbox: &Outbox, stored: Stored) -> Result<(), Stopped> {
        match outbox.put(&stored).await? {
            Putting::Put(put) => {
                let cursor_at = put.at.known();
                // Nothing is put before it is enqueued.
                let late =
                    |at: &DateTime<Utc>| stored.occurred_at.known().is_none_or(|enqueued| enqueued <= *at);
                let at = cursor_at.filter(late);
                self.put = Some(PutAt { at, cursor_at, relay: put.relay, or_before: put.or_before });
            }
            Putting::NotYet => {
                let cursor = outbox.cursor().await?;
                let (leader, all, ahead) = tokio::try_join!(
                    outbox.leader(),
                    outbox.backlog(&cursor, None),
                    outbox.backlog(&cursor, Some(stored.seq)),
                )?;
                self.waiting = all.zip(ahead).map(|(all, ahead)| Waiting {
                    leader,
                    events_ahead: ahead.events,
                    lag_seconds: all.lag_seconds,
                });
            }
            Putting::NotKnown(why) => self.put_not_known = Some(why),
        }
        self.enqueued = Some(Enqueued {
            source: outbox.source().to_owned(),
            name: stored.name,
            key: stored.key,
            payload_bytes: stored.payload_bytes,
            occurred_at: stored.occurred_at,
            seq: stored.seq,
        });
        Ok(())
    }

    /// Removes what is without meaning, and adds the commands.
    fn settle(&mut self, options: &Options) {
        let id = self.id.to_string();
        // The relay passed it without putting it.
        if self.parked.is_some() {
            (self.put, self.put_not_known) = (None, None);
        }
        // An event that is not put, or that the bus refused, can't be anywhere yet. For an unknown event no delivery is
        // expected.
        let expected = self.put.is_some();
        let unknown = self.found != Some(true);
        self.deliveries.retain(|one| match one.delivery.state {
            State::Absent => expected,
            State::NotReceived => expected || (unknown && self.found.is_none()),
            _ => true,
        });
        if unknown && self.deliveries.iter().any(|one| one.delivery.state != State::NotReceived) {
            self.deliveries.retain(|one| one.delivery.state != State::NotReceived);
        }
        if self.parked.is_some() {
            self.commands.push(options.command(["parked", "retry", &id]));
        }
        for SourceDelivery { delivery, .. } in &self.deliveries {
            let rpc = &delivery.rpc;
            match &delivery.state {
                State::Dead { .. } if self.is_done(rpc) => {
                    self.commands.push(options.command(["dlq", "drop", "--event", &id, "--rpc", rpc]));
                }
                State::Dead { .. } => {
                    self.commands.push(options.command(["dlq", "redrive", "--event", &id, "--rpc", rpc]));
                }
                State::Absent => {
                    self.commands.push(options.command(["replay", "--event", &id, "--rpc", rpc, "--run"]));
                }
                _ => {}
            }
        }
        self.commands.dedup();
    }

    fn is_done(&self, rpc: &str) -> bool {
        self.deliveries
            .iter()
            .any(|one| one.delivery.rpc == rpc && matches!(one.delivery.state, State::Done { .. }))
    }

    /// Whether no operator is needed.
    fn is_well(&self) -> bool {
        let bad = |state: &State| matches!(state, State::Dead { .. } | State::Absent);
        let done = |one: &SourceDelivery| matches!(one.delivery.state, State::Done { .. });
        let known = match self.put_not_known {
            Some(_) => self.deliveries.iter().any(done),
            None => self.found != Some(false) || !self.deliveries.is_empty(),
        };
        known && self.parked.is_none() && !self.deliveries.iter().any(|one| bad(&one.delivery.state))
    }
}
