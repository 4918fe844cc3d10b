//! `outbox why`: the history of one event.

mod life;
mod story; // the text for people
mod timeline; // failed attempts and repairs

use std::process::ExitCode;

use outbox_event::EventId;
use outbox_event_router::{Router, Rpc};
use outbox_postgres::operate::{Database, Outbox, ParkedFilter, time_of};
use outbox_transport::BrakeKind;
use outbox_transport::operate::{Operator, SQS};

use crate::brakes::{self, Brakes};
use crate::options::Options;
use crate::running::Running;
use crate::stopped::Stopped;
use crate::transport::{self, Work};
use life::{Life, NotIn, Nowhere, SourceDelivery};

const TRANSACTIONS_MAX: i64 = 20;

/// Shows the history of one event: enqueued, put, and what became of it at each subscriber.
///
/// If it is stuck, this shows the cause and the command that repairs it. It never prints the payload.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 it is done or under way; 1 something of it is dead, parked, or nowhere, or waits and no running worker serves its RPC, or what became of it is not known; 2 unusable arguments; 3 a database or AWS can't be reached.\n\nThe id is what outbox::enqueue returned, the header Idempotency-Key of the RPC, and event_id in every log."
)]
pub(crate) struct Args {
    /// The event's id.
    #[arg(value_name = "EVENT_ID")]
    event: EventId,

    #[command(flatten)]
    pub(crate) options: Options,
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
            dropped: None,
            deliveries: Vec::new(),
            history: Vec::new(),
            on_sqs: transports.iter().any(|transport| transport.source() == SQS),
            unlisted: None,
            nowhere: None,
            commands: Vec::new(),
        };
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::terminal::say);
            if let Some(stored) = outbox.find(id).await? {
                life.tell(&outbox, stored).await?;
            }
            if life.parked.is_none() {
                let filter = ParkedFilter { ids: vec![id], ..ParkedFilter::default() };
                life.parked = outbox.parked(&filter, None, i64::MAX, 1).await?.into_iter().next();
            }
            if life.parked.is_none() {
                life.dropped = outbox.dropped(id).await?;
            }
            if life.enqueued.is_some() || life.parked.is_some() || life.dropped.is_some() {
                life.found = Some(true);
                break;
            }
        }
        let subscribers = self.subscribers(&life);
        let running = Running::ask(&transports, self.databases).await?;
        let brakes = Brakes::ask(&transports).await?;
        if let (Some(waiting), Some(enqueued)) = (&mut life.waiting, &life.enqueued) {
            waiting.causes = running.relays(&enqueued.source);
        }
        for transport in &transports {
            let ours = life.enqueued.as_ref().is_none_or(|enqueued| enqueued.source == transport.source());
            if ours || transport.source() == SQS {
                let between = life.put.as_ref().map(|put| put.between);
                let of = transport.of(id, &subscribers, between).await?;
                let source = transport.source();
                life.deliveries.extend(of.into_iter().map(|delivery| {
                    let serving = running.workers(source, &delivery.rpc);
                    let pause = brakes.of(source, &delivery.rpc, BrakeKind::Pause);
                    let paused = pause.map(|pause| {
                        format!("{}: {}", brakes::words(pause), brakes::undo(&self.args.options, pause))
                    });
                    SourceDelivery::new(source, self.is_routed(&delivery.rpc), delivery, &serving, paused)
                }));
                life.history.extend(transport.past(id, &subscribers).await?);
            }
        }
        life.unlisted = self.unlisted(&life);
        life.settle(&self.args.options);
        if life.found == Some(false) {
            life.nowhere = Some(self.nowhere(id).await?);
        }
        self.args.options.answer(&life, || story::tell(&life))?;
        Ok(if life.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Ask<'_> {
    /// The RPCs that should get it; all RPCs if its name is unknown.
    fn subscribers(&self, life: &Life) -> Vec<Rpc> {
        let Some(router) = &self.router else { return Vec::new() };
        let name = life.enqueued.as_ref().map(|enqueued| &enqueued.event.name);
        match name.or(life.parked.as_ref().map(|parked| &parked.name)) {
            Some(name) => router.subscribers(name).to_vec(),
            None => router.rpcs().map(|(rpc, _)| rpc.clone()).collect(),
        }
    }

    /// Why no RPC gets an event whose name event_router.yaml does not list.
    fn unlisted(&self, life: &Life) -> Option<String> {
        let (router, name) = (self.router.as_ref()?, &life.enqueued.as_ref()?.event.name);
        if router.lists(name) {
            return None;
        }
        let meant =
            router.similar(name).map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
        Some(format!("nobody subscribes to '{name}': event_router.yaml does not list it{meant}"))
    }

    fn is_routed(&self, rpc: &str) -> Option<bool> {
        self.router.as_ref().map(|router| router.rpcs().any(|(known, _)| known.as_str() == rpc))
    }

    async fn nowhere(&self, id: EventId) -> Result<Nowhere, Stopped> {
        let mut sources = Vec::new();
        for database in self.databases {
            let outbox = Outbox::new(database.clone(), crate::terminal::say);
            let mut not_in = NotIn {
                source: outbox.source().to_owned(),
                oldest_event_at: outbox.oldest().await?,
                writing_transactions: outbox.transactions(true, TRANSACTIONS_MAX).await?,
                prepared_transactions: Vec::new(),
                others_open: false,
                blind_role: outbox.blind_role().await?,
            };
            not_in.keep_possible(time_of(id), outbox.prepared(TRANSACTIONS_MAX).await?);
            sources.push(not_in);
        }
        Ok(Nowhere { made_at: time_of(id), sources })
    }
}
