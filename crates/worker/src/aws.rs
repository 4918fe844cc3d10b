//! The AWS transport: a lane for each RPC's queue on SQS, and one dedup table on DynamoDB.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use backoff::{BackoffBuilder, ExponentialBuilder};
use event_router::{Router, Rpc, names};
use outbox_aws::Failure;
use runtime::{Finished, Part, Started};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::breaker::Breaker;
use crate::dedup::DynamoDedup;
use crate::depths;
use crate::lane::Lane;
use crate::meter::Meter;
use crate::queue::SqsQueue;
use crate::rpc::RpcClient;
use crate::unrecorded::Unrecorded;
use crate::word;

/// A long poll lasts 20 s; one that has not come back by then never will.
const RECEIVE_WITHIN: Duration = Duration::from_secs(26);
/// Two requests for each RPC, which are paid for.
const DEPTH_EVERY: Duration = Duration::from_secs(60);
/// Where the queues are, in metrics.
const SOURCE: &str = "sqs";

/// What Terraform made, and how long a received message stays hidden.
#[derive(Debug, Clone)]
pub struct Settings {
    pub queue_prefix: String,
    pub dedup_table: String,
    pub visibility: Duration,
}

/// Delivers from every RPC's queue until `stop`; `config` has the time limit of everything but a long poll. A queue that is not there is said and waited for; the others go on.
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
    tracing::info!(rpcs = router.rpcs().count(), table = settings.dedup_table, "delivering");

    let mut lanes = JoinSet::new();
    for (rpc, policy) in router.rpcs() {
        let (rpc, policy, client, settings) = (rpc.clone(), *policy, client.clone(), settings.clone());
        let (clients, started) = (clients.clone(), started.clone());
        lanes.spawn(async move {
            let Started { stop, give_up, readiness, tracer } = &started;
            // As long as a call may take, and as much longer as its message stays hidden: that is the time to record it.
            let lease = policy.timeout + settings.visibility;
            let (meter, unrecorded) = (Meter::new(SOURCE, &rpc), Unrecorded::new(lease, settings.visibility));
            let (name, part) = (meter.name(), readiness.part(meter.name()));
            let breaker = Arc::new(Mutex::new(Breaker::new(policy.backoff, false)));
            let term = || async {
                let Some(queue) = open(&clients, &rpc, &settings, &part, stop).await else {
                    return Ok(Finished::All);
                };
                let queue = Arc::new(queue);
                let dedup = DynamoDedup::new(clients.dynamodb.clone(), &settings.dedup_table, &rpc, lease);
                let word = dedup.clone();
                let lane = Lane {
                    rpc: rpc.clone(),
                    policy,
                    queue: Arc::clone(&queue),
                    dedup: Arc::new(dedup),
                    client: client.clone(),
                    unrecorded: unrecorded.clone(),
                    aside: Aside::default(),
                    breaker: Arc::clone(&breaker),
                    meter: meter.clone(),
                    readiness: readiness.clone(),
                    tracer: tracer.clone(),
                };
                let watching = runtime::again("depth", &part, stop, || async {
                    let depths = depths::watch(SOURCE, &rpc, &*queue, DEPTH_EVERY);
                    tokio::join!(depths, word::watch(&rpc, &meter, &breaker, &word));
                    Ok(())
                });
                tokio::select! {
                    finished = lane.run(stop, give_up) => finished,
                    never = depths::for_ever(watching) => match never {},
                }
            };
            runtime::again(&name, &part, stop, term).await.unwrap_or(Finished::NotAll)
        });
    }
    let mut finished = Finished::All;
    while let Some(landed) = lanes.join_next().await {
        finished = finished.and(landed.unwrap_or(Finished::NotAll));
    }
    finished
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
    let mut backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        let Failure { code, message, .. } = match SqsQueue::open(
            clients.sqs.clone(),
            clients.polls.clone(),
            &name,
            settings.visibility,
        )
        .await
        {
            Ok(queue) => return Some(queue),
            Err(failure) => failure,
        };
        let wait = backoff.next().unwrap_or(Duration::from_secs(30));
        part.waits(format!("{code}: {message}"));
        tracing::error!(
            %rpc,
            code,
            message,
            retry_in_seconds = wait.as_secs_f64(),
            "not delivering: `terraform apply` makes its queue; see --queue-prefix, AWS_REGION and the account"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return None,
        }
    }
}
