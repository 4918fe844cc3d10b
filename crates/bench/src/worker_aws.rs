//! A queue on SQS worked off: the worker, beside the AWS SDK alone with one request for each record, as many at a time. Both
//! without a call behind the RPC seam, and with one over Connect. It also counts the worker's requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use futures_util::future::try_join_all;
use outbox_aws::DynamoDedup;
use outbox_event::Message;
use outbox_event_router::{Router, Rpc};
use outbox_runtime::Started;
use outbox_transport::{Dedup, Lease, LeaseAnswer};
use outbox_worker::aws::Settings;
use outbox_worker::rpc::{Call, CallError, Client, RpcClient, Services};
use testkit::strict::Strict;
use tokio::task::JoinSet;

use crate::database::until;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::result::{Error, Result};
use crate::row::{Must, Row};
use crate::stub::Stub;

const RPC: &str = "BenchService/Take";
const BATCH: usize = 10;
const CONCURRENCY: usize = 160;

/// Nothing in place of the RPC, or a call over Connect.
#[derive(Debug, Clone)]
enum Handler {
    Nothing,
    Connect(Arc<Client>),
}

impl RpcClient for Handler {
    async fn call(&self, call: &Call<'_>) -> std::result::Result<(), CallError> {
        match self {
            Handler::Nothing => Ok(()),
            Handler::Connect(client) => client.call(call).await,
        }
    }
}

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let deliveries = plan.count(60_000, 10_000);
    let stub = Stub::start(RPC).await?;
    let yaml = format!(
        "event:\n  - name: 'event_bench'\n    subscriber:\n      - id: '{RPC}'\n        concurrency: {CONCURRENCY}\n"
    );
    let router = Router::parse("bench.yaml", &yaml).map_err(|report| report.to_string())?;
    let endpoint = format!("BenchService={}", stub.endpoint).parse()?;
    let services = Services {
        endpoints: &[endpoint],
        encodings: &[],
        contract: None,
        header_prefixes: &[],
        ..Services::default()
    };
    let connect = Handler::Connect(Arc::new(Client::new(&router, &services)?));
    let mut rows = Vec::new();
    for (handler, rpc) in [(Handler::Nothing, "nothing"), (connect, "a Connect call")] {
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs() {
            let ours = delivered_per_second(&stub, &stub.config(), &router, &handler, deliveries).await?;
            pairs.push(ours, requested_per_second(&stub, &handler, deliveries).await?);
        }
        let row = Row::of_pairs("worker_aws", "deliveries/s", &pairs)
            .with("behind the seam", rpc)
            .with("concurrency", CONCURRENCY)
            .with("beside", "the SDK, one request a record");
        rows.push(if rpc == "nothing" { row.must(Must::RatioAtLeast(2.5)) } else { row });
    }
    let calls = calls_per_delivery(&stub, &router, plan.count(20_000, 5_000)).await?;
    rows.push(Row::alone("worker_aws", "requests/delivery", calls).must(Must::OursAtMost(0.45)));
    Ok(rows)
}

/// The requests per delivery, while the queue has more messages than the worker can deliver. The fault server counts them.
async fn calls_per_delivery(stub: &Stub, router: &Router, deliveries: usize) -> Result<f64> {
    let strict = Arc::new(Strict::new(stub.endpoint.trim_start_matches("http://").parse()?));
    let endpoint = Arc::clone(&strict).serve().await?;
    let config = stub.config().to_builder().endpoint_url(endpoint).build();
    delivered_per_second(stub, &config, router, &Handler::Nothing, deliveries).await?;
    Ok(strict.asked().values().sum::<usize>() as f64 / deliveries as f64)
}

async fn delivered_per_second(
    stub: &Stub,
    config: &SdkConfig,
    router: &Router,
    handler: &Handler,
    deliveries: usize,
) -> Result<f64> {
    let started = Started::default();
    let settings = Settings {
        name: "bench".to_owned(),
        queue_prefix: "bench-".to_owned(),
        dedup_table: "bench".to_owned(),
        visibility: Duration::from_secs(30),
        roster_every: Duration::from_secs(10),
    };
    let (config, router, handler, running) =
        (config.clone(), router.clone(), handler.clone(), started.clone());
    let mut worker = JoinSet::new();
    worker
        .spawn(async move { outbox_worker::aws::run(&config, &router, &handler, &settings, &running).await });
    let rate = deleted_per_second(stub, deliveries).await?;
    started.stop.cancel();
    while worker.join_next().await.is_some() {}
    Ok(rate)
}

/// Receive ten, lease each, call each, complete each, delete ten. As many tens run side by side as make up the concurrency.
/// The requests are the product's. Batches are refused here, so each record costs a request of its own.
async fn requested_per_second(stub: &Stub, handler: &Handler, deliveries: usize) -> Result<f64> {
    let config = stub.config();
    let rpc = Rpc::new(RPC).ok_or("not the name of an RPC")?;
    let dedup =
        DynamoDedup::new(aws_sdk_dynamodb::Client::new(&config), "bench", &rpc, Duration::from_secs(30));
    let sqs = aws_sdk_sqs::Client::new(&config);
    stub.refuses_batches.store(true, Ordering::Relaxed);
    let mut tens: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..CONCURRENCY / BATCH {
        let (sqs, dedup, handler, rpc) = (sqs.clone(), dedup.clone(), handler.clone(), rpc.clone());
        tens.spawn(async move {
            loop {
                ten(&sqs, &dedup, &handler, &rpc).await?;
            }
        });
    }
    let rate = tokio::select! {
        rate = deleted_per_second(stub, deliveries) => rate,
        Some(failed) = tens.join_next() => failed?.map(|()| f64::NAN),
    };
    stub.refuses_batches.store(false, Ordering::Relaxed);
    rate
}

/// Deletes per second of so many messages, from the first to the last.
async fn deleted_per_second(stub: &Stub, deliveries: usize) -> Result<f64> {
    let before = stub.asked.deleted.load(Ordering::Relaxed);
    let deleted = || stub.asked.deleted.load(Ordering::Relaxed) - before;
    stub.send(deliveries);
    until("the first delete", Duration::from_secs(30), async || Ok(deleted() > 0)).await?;
    let (began, first) = (Instant::now(), deleted());
    until("the last delete", Duration::from_secs(300), async || Ok(deleted() >= deliveries)).await?;
    Ok((deliveries - first) as f64 / began.elapsed().as_secs_f64())
}

async fn ten(sqs: &aws_sdk_sqs::Client, dedup: &DynamoDedup, handler: &Handler, rpc: &Rpc) -> Result<()> {
    let url = "http://127.0.0.1/1/queue";
    let received =
        sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20).send().await?;
    let messages = received.messages.unwrap_or_default();
    if messages.is_empty() {
        return Ok(());
    }
    let bodies: Vec<Message<'_>> = messages
        .iter()
        .map(|message| Message::decode(message.body().unwrap_or_default()))
        .collect::<std::result::Result<_, _>>()?;
    let leases = try_join_all(bodies.iter().map(|message| claim(dedup, message))).await?;
    if let Handler::Connect(_) = handler {
        try_join_all(bodies.iter().map(async |message| {
            let call = Call { rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(10) };
            Ok::<_, Error>(handler.call(&call).await?)
        }))
        .await?;
    }
    try_join_all(leases.iter().map(async |lease| {
        let recorded = dedup.complete(&[*lease]).await;
        recorded.into_iter().collect::<std::result::Result<Vec<_>, _>>()
    }))
    .await?;
    let entries = messages.iter().enumerate().map(|(n, message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(message.receipt_handle().unwrap_or_default()).build()
    });
    let entries = entries.collect::<std::result::Result<Vec<_>, _>>()?;
    sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await?;
    Ok(())
}

async fn claim(dedup: &DynamoDedup, message: &Message<'_>) -> Result<Lease> {
    match dedup.lease(&[message.event.id]).await?[..] {
        [LeaseAnswer::Won(lease)] => Ok(lease),
        _ => Err("each message is of a new event".into()),
    }
}
