//! The AWS transport: a lane for each RPC's queue on SQS, and one dedup table on DynamoDB.

use std::sync::Arc;
use std::time::Duration;

use backoff::{BackoffBuilder, ExponentialBuilder};
use event_router::{Policy, Router, Rpc, names};
use outbox_aws::Failure;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dedup::DynamoDedup;
use crate::lane::Lane;
use crate::queue::SqsQueue;
use crate::rpc::RpcClient;
use crate::settler::Unrecorded;

/// A long poll lasts 20 s; one that has not come back by then never will.
const RECEIVE_WITHIN: Duration = Duration::from_secs(26);
/// What a claim waits for; a call that takes longer is no call any more.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What Terraform made, and how long a received message stays hidden.
#[derive(Debug, Clone)]
pub struct Settings {
    pub queue_prefix: String,
    pub dedup_table: String,
    pub visibility: Duration,
}

/// Delivers from every RPC's queue until `stop`. A queue that is not there is said and waited for; the others go on.
pub async fn run<C: RpcClient + Clone>(
    router: &Router,
    client: &C,
    settings: &Settings,
    stop: &CancellationToken,
) {
    let config = outbox_aws::config(ASK_WITHIN).await;
    outbox_aws::say_what_is_missing(&config).await;
    let polls = outbox_aws::with_attempt_timeout(&config, RECEIVE_WITHIN);
    let (sqs, dynamodb) = (aws_sdk_sqs::Client::new(&polls), aws_sdk_dynamodb::Client::new(&config));
    tracing::info!(rpcs = router.rpcs().count(), table = settings.dedup_table, "delivering");

    let mut lanes = JoinSet::new();
    for (rpc, policy) in router.rpcs() {
        let (rpc, policy, client, settings) = (rpc.clone(), *policy, client.clone(), settings.clone());
        let (sqs, dynamodb, stop) = (sqs.clone(), dynamodb.clone(), stop.clone());
        lanes.spawn(async move {
            let Some(queue) = open(&sqs, &rpc, &settings, &stop).await else { return };
            lane(queue, dynamodb, &rpc, policy, client, &settings).run(&stop).await;
        });
    }
    while lanes.join_next().await.is_some() {}
}

fn lane<C: RpcClient>(
    queue: SqsQueue,
    dynamodb: aws_sdk_dynamodb::Client,
    rpc: &Rpc,
    policy: Policy,
    client: C,
    settings: &Settings,
) -> Lane<SqsQueue, DynamoDedup, C> {
    // As long as a call may take, and as much longer as its message stays hidden: that is the time to record it.
    let lease = policy.timeout + settings.visibility;
    Lane {
        rpc: rpc.clone(),
        policy,
        queue: Arc::new(queue),
        dedup: Arc::new(DynamoDedup::new(dynamodb, &settings.dedup_table, rpc, lease)),
        client,
        unrecorded: Unrecorded::default(),
    }
}

/// The queue that Terraform made for an RPC. `None` at `stop`.
async fn open(
    sqs: &aws_sdk_sqs::Client,
    rpc: &Rpc,
    settings: &Settings,
    stop: &CancellationToken,
) -> Option<SqsQueue> {
    let name = format!("{}{}", settings.queue_prefix, names::queue(rpc));
    let mut backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        let Failure { code, message, .. } =
            match SqsQueue::open(sqs.clone(), &name, settings.visibility).await {
                Ok(queue) => return Some(queue),
                Err(failure) => failure,
            };
        let wait = backoff.next().unwrap_or(Duration::from_secs(30));
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
