use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_schema::{Connections, Source, within};
use runtime::{Chain, Part};
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Polling behind the notifications: for retries that another process scheduled, for claims whose worker died, and for
/// a notification lost with its connection.
const POLL_EVERY: Duration = Duration::from_secs(1);
const RECONNECT_EVERY: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// Tells each queue of one database when there is something to receive: one connection that listens and one small
/// statement a second, however many queues there are.
#[derive(Debug)]
pub struct Bell {
    queues: HashMap<i32, Arc<Notify>>,
}

impl Bell {
    pub fn new(queues: impl IntoIterator<Item = i32>) -> Self {
        Self { queues: queues.into_iter().map(|queue| (queue, Arc::new(Notify::new()))).collect() }
    }

    /// What rings for this queue. A ring that nobody waits for is kept for the next who does.
    pub fn of(&self, queue: i32) -> Arc<Notify> {
        self.queues.get(&queue).cloned().unwrap_or_default()
    }

    /// Rings until `stop`.
    pub async fn run(
        &self,
        source: &Source,
        connections: &Connections,
        part: &Part,
        stop: &CancellationToken,
    ) {
        tokio::join!(self.listen(source, stop), self.poll(source, connections, part, stop));
    }

    async fn listen(&self, source: &Source, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let listening = async {
                let pool = source.listening("outbox worker (bell)");
                let mut listener = PgListener::connect_with(&pool).await?;
                listener.eager_reconnect(false);
                within(listener.listen("outbox_delivery")).await?;
                // Whatever was notified before we listened.
                self.ring_all();
                loop {
                    match tokio::time::timeout(PROBE_EVERY, listener.try_recv()).await {
                        Ok(Ok(Some(notification))) => self.ring(notification.payload()),
                        Ok(Ok(None)) => break,
                        Ok(Err(error)) => return Err(error),
                        // Nothing for a while: silence, or a connection that is half-open?
                        Err(_) => {
                            within(sqlx::query("select 1").execute(&mut listener)).await?;
                        }
                    }
                }
                Err::<(), _>(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()))
            };
            tokio::select! {
                ended = listening => if let Err(error) = ended {
                    tracing::warn!(source = source.name(), error = %Chain(&error), "not listening: polling until the database is back");
                },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn poll(&self, source: &Source, connections: &Connections, part: &Part, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + POLL_EVERY, POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.look(source, connections).await {
                Ok(()) => part.moves(),
                Err(error) => {
                    part.waits(format!("the database does not answer: {}", Chain(&error)));
                    tracing::debug!(source = source.name(), error = %Chain(&error), "poll failed");
                }
            }
        }
    }

    async fn look(&self, source: &Source, connections: &Connections) -> Result<(), sqlx::Error> {
        let mut loan = connections.lend().await?;
        let ids: Vec<i32> = self.queues.keys().copied().collect();
        let look = sqlx::query_as(
            "select q.id,
                    exists (select from outbox.retry as r where r.queue = q.id and r.due_at <= clock_timestamp())
                    or exists (select from outbox.delivery as d where d.queue = q.id and d.seq > coalesce(
                        (select c.last_seq from outbox.claim as c where c.queue = q.id order by c.id desc limit 1), 0)),
                    exists (select from outbox.claim as c where c.queue = q.id and c.until < clock_timestamp())
                    or exists (select from outbox.claim as c where c.queue = q.id offset 100)
             from unnest($1::integer[]) as q (id)",
        )
        .bind(ids);
        let found: Vec<(i32, bool, bool)> = within(look.fetch_all(loan.conn())).await?;
        for (queue, ready, stale) in found {
            let recovered: i64 = if stale {
                let recover = sqlx::query_scalar("select outbox.recover($1)").bind(queue);
                within(recover.fetch_one(loan.conn())).await?
            } else {
                0
            };
            if recovered > 0 {
                tracing::warn!(
                    source = source.name(),
                    queue,
                    deliveries = recovered,
                    "their worker did not settle them: delivering again"
                );
            }
            if ready || recovered > 0 {
                self.of(queue).notify_one();
            }
        }
        loan.give_back();
        Ok(())
    }

    fn ring(&self, queue: &str) {
        if let Some(queue) = queue.parse().ok().and_then(|id: i32| self.queues.get(&id)) {
            queue.notify_one();
        }
    }

    fn ring_all(&self) {
        self.queues.values().for_each(|queue| queue.notify_one());
    }
}
