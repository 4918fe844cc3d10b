//! A queue on SQS worked off: the worker, beside the same requests of the AWS SDK alone, as many at a time and in the same
//! batches. Both without a call behind the RPC seam, and with one over Connect.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use futures_util::future::try_join_all;
use outbox_event::Message;
use outbox_event_router::{Router, Rpc};
use outbox_runtime::Started;
use outbox_worker::aws::Settings;
use outbox_worker::rpc::{Call, CallError, Client, RpcClient, Services};
use tokio::task::JoinSet;

use crate::database::until;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::report::{Must, Row};
use crate::result::{Error, Result};
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
    let services = Services { endpoints: &[endpoint], encodings: &[], contract: None, header_prefixes: &[] };
    let connect = Handler::Connect(Arc::new(Client::new(&router, &services)?));
    let mut rows = Vec::new();
    for (handler, rpc) in [(Handler::Nothing, "nothing"), (connect, "a Connect call")] {
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs() {
            let ours = delivered_per_second(&stub, &router, &handler, deliveries).await?;
            pairs.push(ours, requested_per_second(&stub, &handler, deliveries).await?);
        }
        rows.push(
            Row::of_pairs("worker_aws", "deliveries/s", &pairs)
                .with("behind the seam", rpc)
                .with("concurrency", CONCURRENCY)
                .with("beside", "the SDK alone")
                .must(Must::RatioAtLeast(0.8)),
        );
    }
    Ok(rows)
}

async fn delivered_per_second(
    stub: &Stub,
    router: &Router,
    handler: &Handler,
    deliveries: usize,
) -> Result<f64> {
    let started = Started::default();
    let settings = Settings {
        queue_prefix: "bench-".to_owned(),
        dedup_table: "bench".to_owned(),
        visibility: Duration::from_secs(30),
    };
    let (config, router, handler, running) =
        (stub.config(), router.clone(), handler.clone(), started.clone());
    let mut worker = JoinSet::new();
    worker
        .spawn(async move { outbox_worker::aws::run(&config, &router, &handler, &settings, &running).await });
    let rate = deleted_per_second(stub, deliveries).await?;
    started.stop.cancel();
    while worker.join_next().await.is_some() {}
    Ok(rate)
}

/// Receive ten, lease each, call each, complete each, delete ten. As many tens run side by side as make up the concurrency.
async fn requested_per_second(stub: &Stub, handler: &Handler, deliveries: usize) -> Result<f64> {
    let config = stub.config();
    let (sqs, dynamodb) = (aws_sdk_sqs::Client::new(&config), aws_sdk_dynamodb::Client::new(&config));
    let rpc = Rpc::new(RPC).ok_or("not the name of an RPC")?;
    let mut tens: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..CONCURRENCY / BATCH {
        let (sqs, dynamodb, handler, rpc) = (sqs.clone(), dynamodb.clone(), handler.clone(), rpc.clone());
        tens.spawn(async move {
            loop {
                ten(&sqs, &dynamodb, &handler, &rpc).await?;
            }
        });
    }
    tokio::select! {
        rate = deleted_per_second(stub, deliveries) => rate,
        Some(failed) = tens.join_next() => failed?.map(|()| f64::NAN),
    }
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

async fn ten(
    sqs: &aws_sdk_sqs::Client,
    dynamodb: &aws_sdk_dynamodb::Client,
    handler: &Handler,
    rpc: &Rpc,
) -> Result<()> {
    let url = "http://127.0.0.1/1/queue";
    let received =
        sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20).send().await?;
    let messages = received.messages.unwrap_or_default();
    if messages.is_empty() {
        return Ok(());
    }
    try_join_all(messages.iter().map(|message| claim(dynamodb, message.body().unwrap_or_default()))).await?;
    if let Handler::Connect(_) = handler {
        try_join_all(messages.iter().map(async |message| {
            let message = Message::decode(message.body().unwrap_or_default())?;
            let call = Call { rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(10) };
            Ok::<_, Error>(handler.call(&call).await?)
        }))
        .await?;
    }
    try_join_all(messages.iter().map(|message| complete(dynamodb, message.body().unwrap_or_default())))
        .await?;
    let entries = messages.iter().enumerate().map(|(n, message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(message.receipt_handle().unwrap_or_default()).build()
    });
    let entries = entries.collect::<std::result::Result<Vec<_>, _>>()?;
    sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await?;
    Ok(())
}

/// The key without the rest of the message.
fn key(body: &str) -> AttributeValue {
    AttributeValue::S(body.chars().take(80).collect())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The worker's own requests, attribute for attribute.
async fn claim(dynamodb: &aws_sdk_dynamodb::Client, body: &str) -> Result<()> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = dynamodb
        .put_item()
        .table_name("bench")
        .item("id", key(body))
        .item("state", text("leased"))
        .item("token", number(fastrand::i64(..)))
        .item("leased_until_ms", number(1_795_000_000_000))
        .item("at_ms", number(1_795_000_000_000))
        .item("expires_at", number(1_795_000_000))
        .condition_expression(
            "attribute_not_exists(id) or expires_at < :now_seconds
             or #state = :failed or #state = :dead or (#state = :leased and leased_until_ms < :now_ms)",
        )
        .expression_attribute_values(":failed", text("failed"))
        .expression_attribute_values(":dead", text("dead"))
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":leased", text("leased"))
        .expression_attribute_values(":now_ms", number(1_795_000_000_000))
        .expression_attribute_values(":now_seconds", number(1_795_000_000));
    put.send().await?;
    Ok(())
}

async fn complete(dynamodb: &aws_sdk_dynamodb::Client, body: &str) -> Result<()> {
    let update = dynamodb
        .update_item()
        .table_name("bench")
        .key("id", key(body))
        .update_expression(
            "set #state = :done, #token = :token, expires_at = :expires_at, at_ms = :now remove leased_until_ms",
        )
        .condition_expression("attribute_not_exists(id) or #token = :token")
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#token", "token")
        .expression_attribute_values(":done", AttributeValue::S("done".to_owned()))
        .expression_attribute_values(":now", number(1_795_000_000_000))
        .expression_attribute_values(":token", number(fastrand::i64(..)))
        .expression_attribute_values(":expires_at", number(1_795_000_000));
    update.send().await?;
    Ok(())
}
