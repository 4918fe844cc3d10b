//! An open-loop load: a service that changes a row and publishes at a fixed rate, even if delivery falls behind.

use std::time::Duration;

use futures_util::future::{join_all, try_join3};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::database::{ACCOUNTS, payload};
use crate::result::Result;

/// One event on its way: times of the machine's monotonic clock, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) n: u64,
    /// The planned start.
    pub(crate) due: Duration,
    pub(crate) before_commit: i64,
    pub(crate) after_commit: i64,
}

/// The rate, the connections, and the duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) connections: usize,
    pub(crate) lasts: Duration,
}

/// The machine's monotonic clock, which other processes read too.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Publishes with `enqueue`, whose `$1` is the payload. Each transaction changes one row, enqueues, and commits. Change and
/// enqueue share a round trip, so that the server is measured and not the publisher.
pub(crate) async fn publish(url: &str, enqueue: &str, load: Load) -> Result<Vec<Sent>> {
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(Publisher::connect(url, enqueue).await?);
    }
    let total = (load.per_second * load.lasts.as_secs_f64()) as u64;
    let (began, each) = (Instant::now() + Duration::from_millis(20), load.connections as u64);
    let publishers = clients.into_iter().enumerate().map(|(first, mut publisher)| {
        tokio::spawn(async move {
            let mut sent = Vec::new();
            let mut n = first as u64;
            while n < total {
                let due = Duration::from_secs_f64(n as f64 / load.per_second);
                tokio::time::sleep_until(began + due).await;
                sent.push(publisher.publish(n, due).await?);
                n += each;
            }
            Ok::<_, tokio_postgres::Error>(sent)
        })
    });
    let mut all = Vec::new();
    for sent in join_all(publishers.collect::<Vec<_>>()).await {
        all.extend(sent??);
    }
    Ok(all)
}

/// The rate of the same publishers if each begins its next transaction after the last commit.
pub(crate) async fn published_per_second(
    url: &str,
    enqueue: &str,
    connections: usize,
    lasts: Duration,
) -> Result<f64> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Publisher::connect(url, enqueue).await?);
    }
    let began = Instant::now();
    let publishers = clients.into_iter().map(|mut publisher| {
        tokio::spawn(async move {
            let mut count = 0;
            while began.elapsed() < lasts {
                publisher.publish(count, Duration::ZERO).await?;
                count += 1;
            }
            Ok::<_, tokio_postgres::Error>(count)
        })
    });
    let mut total = 0;
    for count in join_all(publishers.collect::<Vec<_>>()).await {
        total += count??;
    }
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

struct Publisher {
    client: Client,
    update: tokio_postgres::Statement,
    enqueue: tokio_postgres::Statement,
}

impl Publisher {
    async fn connect(url: &str, enqueue: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let update = client.prepare("update account set balance = balance + 1 where id = $1").await?;
        let enqueue = client.prepare(enqueue).await?;
        Ok(Self { client, update, enqueue })
    }

    async fn publish(&mut self, n: u64, due: Duration) -> std::result::Result<Sent, tokio_postgres::Error> {
        let (account, payload) = (fastrand::i32(1..=ACCOUNTS), payload(n));
        try_join3(
            self.client.batch_execute("begin"),
            self.client.execute(&self.update, &[&account]),
            self.client.execute(&self.enqueue, &[&payload]),
        )
        .await?;
        let before_commit = now();
        self.client.batch_execute("commit").await?;
        Ok(Sent { n, due, before_commit, after_commit: now() })
    }
}
