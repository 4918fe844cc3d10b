//! A backlog onto EventBridge: the relay, beside the AWS SDK alone, which puts the same entries from memory.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use futures_util::StreamExt;
use outbox_aws::EventBridge;
use outbox_relay::bus::Bus;

use crate::database::{Database, EVENT, payload, until};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::Relaying;
use crate::result::Result;
use crate::row::{Must, Row};
use crate::stub::Stub;

const BATCH: usize = 10;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let events = plan.count(200_000, 30_000);
    let database = Database::start().await?;
    database.fill(events, &[EVENT.to_owned()]).await?;
    let stub = Stub::start("").await?;
    let mut rows = Vec::new();
    let concurrencies: &[usize] = if plan.quick { &[32] } else { &[8, 16, 32, 64] };
    for &concurrency in concurrencies {
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs() {
            let ours = relayed_per_second(&database, &stub, concurrency, events).await?;
            pairs.push(ours, put_per_second(&stub, concurrency, events).await?);
        }
        rows.push(
            Row::of_pairs("put", "events/s", &pairs)
                .with("events", events)
                .with("concurrency", concurrency)
                .with("beside", "the SDK alone"),
        );
    }
    // With the best concurrency, which a user would choose.
    let best =
        rows.iter().enumerate().max_by(|(_, a), (_, b)| a.ours().total_cmp(&b.ours())).map(|(at, _)| at);
    if let Some(best) = best {
        rows[best] = rows[best].clone().must(Must::RatioAtLeast(0.85));
    }
    Ok(rows)
}

/// From the first put to the last, as the stub receives them.
async fn relayed_per_second(
    database: &Database,
    stub: &Stub,
    concurrency: usize,
    events: usize,
) -> Result<f64> {
    database.rewind().await?;
    let before = stub.asked.events.load(Ordering::Relaxed);
    let taken = || stub.asked.events.load(Ordering::Relaxed) - before;
    let bus = EventBridge::new(Client::new(&stub.config()), "bench", "bench", concurrency);
    let relay = Relaying::start(&database.source, Bus::Remote(bus));
    until("the first put", Duration::from_secs(30), async || Ok(taken() > 0)).await?;
    let (began, first) = (Instant::now(), taken());
    until("the last put", Duration::from_secs(300), async || Ok(taken() >= events)).await?;
    let seconds = began.elapsed().as_secs_f64();
    relay.stop().await?;
    Ok((events - first) as f64 / seconds)
}

/// So many concurrent requests, each with ten entries of the same size.
async fn put_per_second(stub: &Stub, concurrency: usize, events: usize) -> Result<f64> {
    let client = Client::new(&stub.config());
    let envelope = format!(
        r#"{{"id":"{}","name":"{EVENT}","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{}}}"#,
        uuid::Uuid::now_v7(),
        payload(0)
    );
    let began = Instant::now();
    let requests = futures_util::stream::iter(0..events / BATCH).map(|_| {
        let entries = (0..BATCH).map(|_| {
            PutEventsRequestEntry::builder()
                .event_bus_name("bench")
                .source("bench")
                .detail_type(EVENT)
                .detail(&envelope)
                .time(DateTime::from_secs(1_795_000_000))
                .build()
        });
        client.put_events().set_entries(Some(entries.collect())).send()
    });
    let mut requests = requests.buffer_unordered(concurrency);
    while let Some(answer) = requests.next().await {
        answer?;
    }
    Ok((events / BATCH * BATCH) as f64 / began.elapsed().as_secs_f64())
}
