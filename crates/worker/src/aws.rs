//! The AWS transport: a consumer for each RPC's queue on SQS, and one dedup table on DynamoDB.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use outbox_aws::{BrakesItem, DynamoDedup, Failure, ProcessItem, Roster, SqsQueue};
use outbox_event_router::{Router, Rpc, names};
use outbox_runtime::{Finished, Part, Started};
use outbox_transport::process::{Process, Program, shown_beside};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::braking;
use crate::duty::Duty;
use crate::pace::Pace;
use crate::plan::{Plan, Plans};
use crate::process::Look;
use crate::rpc::RpcClient;
use crate::served::{Served, consumers};
use crate::subscriber::Subscriber;
use crate::supervise::{Stops, consume};
use crate::watch::Watch;

/// A long poll lasts 20 s. After this time no answer will come.
const RECEIVE_WITHIN: Duration = Duration::from_secs(22);
/// Two requests for each queue that this worker watches. They cost money.
const DEPTH_EVERY: Duration = Duration::from_secs(60);
/// The pauses between tries to open a queue.
const OPEN_AGAIN_MIN: Duration = Duration::from_millis(500);
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(30);
/// The source of queues in metrics.
const SOURCE: &str = "sqs";

/// The names that Terraform gave, and how long a received message stays hidden.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The worker's name in its report and in the history of events.
    pub name: String,
    pub queue_prefix: String,
    pub dedup_table: String,
    pub visibility: Duration,
    /// How often a worker writes its entry to the roster.
    pub roster_every: Duration,
}

/// Delivers from every RPC's queue until `stop`, by a plan that stays.
pub async fn run<C: RpcClient + Clone>(
    config: &SdkConfig,
    router: &Router,
    client: &C,
    settings: &Settings,
    started: &Started,
) -> Finished {
    run_by(config, &Plan::fixed(router, client.clone()), settings, started).await
}

/// Delivers from every RPC's queue until `stop`, by the newest plan; `config` has the time limit of everything but a long poll. A missing queue is
/// reported and tried again; the others go on.
pub async fn run_by<C: RpcClient + Clone>(
    config: &SdkConfig,
    plans: &Plans<C>,
    settings: &Settings,
    started: &Started,
) -> Finished {
    let polls = outbox_aws::with_attempt_timeout(config, RECEIVE_WITHIN);
    let clients = Clients {
        sqs: aws_sdk_sqs::Client::new(config),
        polls: aws_sdk_sqs::Client::new(&polls),
        dynamodb: aws_sdk_dynamodb::Client::new(config),
    };
    let served = Served::by(plans, SOURCE, (settings.visibility, Pace::default()), false, started);
    tracing::info!(rpcs = served.rpcs().len(), table = settings.dedup_table, "delivering");
    let brakes = BrakesItem::new(clients.dynamodb.clone(), &settings.dedup_table, &settings.queue_prefix);
    braking::first_look(&brakes, |read| served.brake(read)).await;

    let begin =
        |subscriber: Subscriber<C>, stops| consumer(subscriber, clients.clone(), settings.clone(), stops);
    // The roster names queues by number, so another set of queues is another roster.
    let others = Notify::new();
    let working =
        consumers(&served, plans.clone(), (&started.stop, &started.give_up), begin, || others.notify_one());
    let part = started.readiness.part("roster");
    let watching = outbox_runtime::again("roster", &part, &started.stop, || async {
        part.moves();
        while !started.stop.is_cancelled() {
            let (watch, stop) = (watch(&clients, &served.all(), settings), started.stop.child_token());
            let same = |watch: &Watch| watch.duties.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            let until_other = async {
                loop {
                    others.notified().await;
                    if same(&self::watch(&clients, &served.all(), settings)) != same(&watch) {
                        stop.cancel();
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = watch.run(&stop) => {}
                () = until_other => {}
            }
        }
        Ok(())
    });
    let (name, address) = (&settings.name, started.address.clone());
    let process = Process::new(Program::Worker, name, env!("CARGO_PKG_VERSION"), address);
    let (table, prefix) = (&settings.dedup_table, &settings.queue_prefix);
    let item = ProcessItem::new(clients.dynamodb.clone(), table, prefix, name);
    let look = Look {
        process: process.built_from(outbox_revision::known()),
        readiness: &started.readiness,
        source: None,
        served: &served,
        plans: plans.clone(),
        unaddressed: Vec::new(),
        since: BTreeMap::new(),
        news: None,
    };
    let following = braking::follow(&brakes, |read| served.brake(read), &started.stop);
    let work = async { tokio::join!(working, watching, following).0 };
    shown_beside(Box::pin(work), item, look).await
}

async fn consumer<C: RpcClient + Clone>(
    subscriber: Subscriber<C>,
    clients: Clients,
    settings: Settings,
    stops: Stops,
) -> Finished {
    let Subscriber { rpc, metrics, readiness, .. } = &subscriber;
    let part = readiness.part(metrics.name());
    let open = || async {
        let queue = open(&clients, rpc, &settings, &part, &stops.stop).await?;
        let dynamodb = clients.dynamodb.clone();
        let dedup = DynamoDedup::new(dynamodb, &settings.dedup_table, rpc, subscriber.lease);
        let dedup = dedup.of_worker(&settings.name);
        Some((Arc::new(queue), dedup.clone(), Arc::new(dedup)))
    };
    consume(&subscriber, &part, DEPTH_EVERY, &stops, open).await
}

/// Only workers of the same queues share a roster, because entries name queues by number. They must also agree on its times.
fn watch<C>(clients: &Clients, subscribers: &[Subscriber<C>], settings: &Settings) -> Watch {
    let duty = |subscriber: &Subscriber<C>| {
        (names::queue(&settings.queue_prefix, &subscriber.rpc), subscriber.duty.clone())
    };
    let mut duties: Vec<(String, Duty)> = subscribers.iter().map(duty).collect();
    duties.sort_by(|(one, _), (other, _)| one.cmp(other));
    let every = settings.roster_every;
    let times = format!("{every:?}");
    let same = duties.iter().map(|(name, _)| name.as_str()).chain([times.as_str()]);
    let roster = Roster::new(clients.dynamodb.clone(), &settings.dedup_table, same);
    Watch { roster, duties, every }
}

#[derive(Clone)]
struct Clients {
    sqs: aws_sdk_sqs::Client,
    polls: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
}

/// The queue that Terraform made for an RPC. `None` at `stop`.
async fn open(
    clients: &Clients,
    rpc: &Rpc,
    settings: &Settings,
    part: &Part,
    stop: &CancellationToken,
) -> Option<SqsQueue> {
    let name = names::queue(&settings.queue_prefix, rpc);
    let mut waits = outbox_runtime::backoff(OPEN_AGAIN_MIN, OPEN_AGAIN_MAX);
    loop {
        let (client, polls) = (clients.sqs.clone(), clients.polls.clone());
        let Failure { code, message, .. } =
            match Box::pin(SqsQueue::open(client, polls, &name, settings.visibility)).await {
                Ok(queue) => return Some(queue),
                Err(failure) => failure,
            };
        let wait = waits.next().unwrap_or(OPEN_AGAIN_MAX);
        part.waits(format!("{code}: {message}"));
        tracing::error!(
            %rpc,
            code,
            message,
            retry_in_seconds = wait.as_secs_f64(),
            "not delivering: `terraform apply` makes its queue; see --queue-prefix, AWS_REGION and the account"
        );
        stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
    }
}
