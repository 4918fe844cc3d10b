//! From COMMIT to the bus: the time from COMMIT's return to the put, beside the time of a bare NOTIFY from its sender to its
//! receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_event::Envelope;
use sqlx::postgres::PgListener;
use tokio::time::Instant;
use tokio_postgres::NoTls;

use crate::database::{Database, EVENT, number, until};
use crate::pairs::{Pairs, quantile};
use crate::plan::Plan;
use crate::publisher::{Load, Sent, now, publish};
use crate::relaying::{Relaying, sink_with};
use crate::result::Result;
use crate::row::{Must, Row};

const CONNECTIONS: usize = 16;
/// The first events include planning and growing files.
const WARM_UP: Duration = Duration::from_secs(1);

/// The arrival of each number.
pub(crate) type Arrived = Arc<Mutex<HashMap<u64, i64>>>;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let mut rows = Vec::new();
    for (per_second, most) in [(100.0, 4.0), (1000.0, 3.0)] {
        let load = Load { per_second, connections: CONNECTIONS, lasts: plan.seconds(10, 4) };
        let (mut p50, mut p99) = (Pairs::default(), Pairs::default());
        for _ in 0..plan.pairs() {
            let (ours, notify) = (put_after(&database, load).await?, notified_after(&database, load).await?);
            p50.push(quantile(&ours, 0.5), quantile(&notify, 0.5));
            p99.push(quantile(&ours, 0.99), quantile(&notify, 0.99));
        }
        let row = |pairs: &Pairs, quantile: &str, must| {
            let row =
                Row::of_pairs("wake", "ms", pairs).with("events/s", per_second).with("quantile", quantile);
            row.with("beside", "notify").must(must)
        };
        rows.push(row(&p50, "p50", Must::RatioAtMost(most)));
        rows.push(row(&p99, "p99", Must::AboveBaselineAtMost(3.0)));
    }
    Ok(rows)
}

/// Milliseconds from COMMIT's return to the put, of each event.
async fn put_after(database: &Database, load: Load) -> Result<Vec<f64>> {
    let (relay, arrived) = watched(database);
    let sent = publish(&database.url(), &format!("select outbox.enqueue('{EVENT}', $1)"), load).await?;
    all_arrived(&arrived, sent.len()).await?;
    relay.stop().await?;
    Ok(after_commit(&sent, &arrived))
}

/// A relay whose bus notes the arrival of each event.
pub(crate) fn watched(database: &Database) -> (Relaying, Arrived) {
    let arrived = Arrived::default();
    let note = Arc::clone(&arrived);
    let (bus, _) = sink_with(move |event: &Envelope<'_>| {
        if let Some(n) = number(event.payload.get()) {
            note.lock().expect("no panic while held").entry(n).or_insert_with(now);
        }
    });
    (Relaying::start(&database.source, bus), arrived)
}

pub(crate) async fn all_arrived(arrived: &Arrived, count: usize) -> Result<()> {
    until("every event has arrived", Duration::from_secs(60), async || {
        Ok(arrived.lock().expect("no panic while held").len() >= count)
    })
    .await
}

/// Not below zero: the relay may have an event before its publisher gets COMMIT's answer.
pub(crate) fn after_commit(sent: &[Sent], arrived: &Arrived) -> Vec<f64> {
    let arrived = arrived.lock().expect("no panic while held");
    let warm = sent.iter().filter(|sent| sent.due >= WARM_UP);
    let after = warm.filter_map(|sent| Some((arrived.get(&sent.n)? - sent.after_commit).max(0)));
    after.map(|nanos| nanos as f64 / 1e6).collect()
}

/// Milliseconds from a bare NOTIFY, which flushes nothing, to its arrival.
async fn notified_after(database: &Database, load: Load) -> Result<Vec<f64>> {
    let arrived = Arrived::default();
    let mut listener = PgListener::connect(&database.url()).await?;
    listener.listen("bench").await?;
    let note = Arc::clone(&arrived);
    let listening = tokio::spawn(async move {
        while let Ok(notification) = listener.recv().await {
            if let Ok(n) = notification.payload().parse() {
                note.lock().expect("no panic while held").insert(n, now());
            }
        }
    });
    let sent = notify(database, load).await?;
    let all = all_arrived(&arrived, sent.len()).await;
    listening.abort();
    all?;
    Ok(after_commit(&sent, &arrived))
}

/// Sends notifications at this rate, and notes the time of each.
async fn notify(database: &Database, load: Load) -> Result<Vec<Sent>> {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await?;
    tokio::spawn(connection);
    let notify = client.prepare("select pg_notify('bench', $1)").await?;
    let (began, mut sent) = (Instant::now(), Vec::new());
    for n in 0..(load.per_second * load.lasts.as_secs_f64()) as u64 {
        let due = Duration::from_secs_f64(n as f64 / load.per_second);
        tokio::time::sleep_until(began + due).await;
        let at = now();
        client.execute(&notify, &[&n.to_string()]).await?;
        sent.push(Sent { n, due, before_commit: at, after_commit: at });
    }
    Ok(sent)
}
