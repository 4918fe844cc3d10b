//! The AWS transport: a consumer for each RPC's queue on SQS, and one dedup table on DynamoDB.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use outbox_aws::{BrakesItem, DynamoDedup, Failure, ProcessItem, Roster, SqsQueue};
use outbox_event_router::{Router, Rpc, names};
use outbox_runtime::{Finished, Part, Started};
use outbox_transport::process::{Process, Program, shown_beside};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::braking::{self, Braking};
use crate::duty::Duty;
use crate::process::{Look, unaddressed};
use crate::rpc::{RpcClient, Serves};
use crate::subscriber::Subscriber;
use crate::supervise::{all_finished, consume};
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

/// Delivers from every RPC's queue until `stop`; `config` has the time limit of everything but a long poll. A missing queue is
/// reported and tried again; the others go on.
pub async fn run<C: RpcClient + Clone>(
    config: &SdkConfig,
    router: &Router,
    client: &C,
    settings: &Settings,
    started: &Started,
) -> Finished {
    let polls = outbox_aws::with_attempt_timeout(config, RECEIVE_WITHIN);
    let clients = Clients {
        sqs: aws_sdk_sqs::Client::new(config),
        polls: aws_sdk_sqs::Client::new(&polls),
        dynamodb: aws_sdk_dynamodb::Client::new(config),
    };
    let rpcs = router.rpcs().filter(|(rpc, _)| client.serves(rpc) == Serves::Yes).count();
    tracing::info!(rpcs, table = settings.dedup_table, "delivering");

    let mut consumers = JoinSet::new();
    let mut duties = Vec::new();
    let subscriber = |rpc| Subscriber::new(SOURCE, rpc, client.clone(), settings.visibility, false, started);
    let served = router.rpcs().filter(|(rpc, _)| client.serves(rpc) == Serves::Yes);
    let subscribers: Vec<_> = served.map(subscriber).collect();
    let brakes = BrakesItem::new(clients.dynamodb.clone(), &settings.dedup_table, &settings.queue_prefix);
    let braked: Vec<Braking> = subscribers.iter().map(|subscriber| subscriber.braking.clone()).collect();
    braking::first_look(&brakes, &braked).await;
    for subscriber in &subscribers {
        duties.push((names::queue(&settings.queue_prefix, &subscriber.rpc), subscriber.duty.clone()));
        let subscriber = subscriber.clone();
        let (clients, settings) = (clients.clone(), settings.clone());
        let (stop, give_up) = (started.stop.clone(), started.give_up.clone());
        consumers.spawn(async move {
            let Subscriber { rpc, metrics, readiness, .. } = &subscriber;
            let part = readiness.part(metrics.name());
            let open = || async {
                let queue = open(&clients, rpc, &settings, &part, &stop).await?;
                let dynamodb = clients.dynamodb.clone();
                let dedup = DynamoDedup::new(dynamodb, &settings.dedup_table, rpc, subscriber.lease);
                let dedup = dedup.of_worker(&settings.name);
                Some((Arc::new(queue), dedup.clone(), Arc::new(dedup)))
            };
            consume(&subscriber, &part, DEPTH_EVERY, (&stop, &give_up), open).await
        });
    }
    let watch = watch(&clients, duties, settings);
    let part = started.readiness.part("roster");
    let watching = outbox_runtime::again("roster", &part, &started.stop, || async {
        part.moves();
        watch.run(&started.stop).await;
        Ok(())
    });
    let (name, address) = (&settings.name, started.address.clone());
    let process = Process::new(Program::Worker, name, env!("CARGO_PKG_VERSION"), address);
    let (table, prefix) = (&settings.dedup_table, &settings.queue_prefix);
    let item = ProcessItem::new(clients.dynamodb.clone(), table, prefix, name);
    let mut look = Look {
        process: process.routed_by(router).built_from(outbox_revision::known()),
        readiness: &started.readiness,
        source: None,
        subscribers: &subscribers,
        unaddressed: unaddressed(router, client),
        since: BTreeMap::new(),
    };
    let following = braking::follow(&brakes, &braked, &started.stop);
    let work = async { tokio::join!(all_finished(consumers), watching, following).0 };
    shown_beside(Box::pin(work), item, || look.now()).await
}

/// Only workers of the same queues share a roster, because entries name queues by number. They must also agree on its times.
fn watch(clients: &Clients, mut duties: Vec<(String, Duty)>, settings: &Settings) -> Watch {
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
