use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event_router::Rpc;
use outbox_runtime::{Chain, Guarded, Part};
use sqlx::PgConnection;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::watched::{Found, From, Watched};
use crate::beside::{Beside, Statements};
use crate::{Connections, Listening, SESSION, Source, within};

/// The poll finds what is not notified: retries that another process scheduled, claims whose worker died, and what a lost
/// notification was for.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// While nothing is in any queue, messages are notified. Only a lost notification, or a database without a listener, needs this.
const QUIET_POLL_EVERY: Duration = Duration::from_secs(5);
/// The part of a pause after which the next look may follow another statement.
const NEARLY: f64 = 0.6;
const LOOKED_WITHIN: Duration = Duration::from_secs(10);
const SAID_EVERY: Duration = Duration::from_secs(60);
const RECONNECT_EVERY: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// A read of everything corrects a mark that has passed a late commit. It is rare if it takes long.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const SWEEP_SHARE: u32 = 100;

type Queues = BTreeMap<String, Arc<Watched>>;

/// Wakes the receivers of one database. It needs one connection that listens and one small statement a second, for any number
/// of queues. While it listens, that statement runs in the same session, and so does what else is beside it.
#[derive(Debug)]
pub struct Bell {
    /// Replaced as a whole, so that a look sees one state.
    queues: Guarded<Arc<Queues>>,
    /// When to read everything again.
    sweep_at: Guarded<Instant>,
    /// Whether the last look found nothing in any queue: no delivery, no retry, no claim.
    quiet: AtomicBool,
    /// Asks for a look now.
    look_now: Notify,
    /// Notified when it is no longer quiet.
    stirred: Notify,
}

impl Bell {
    pub fn new<'a>(rpcs: impl IntoIterator<Item = &'a Rpc>) -> Self {
        let watched = |rpc: &Rpc| (rpc.as_str().to_owned(), Arc::new(Watched::new(rpc)));
        let queues: Queues = rpcs.into_iter().map(watched).collect();
        Self {
            queues: Guarded::new(Arc::new(queues)),
            sweep_at: Guarded::new(Instant::now()),
            quiet: AtomicBool::new(false),
            look_now: Notify::new(),
            stirred: Notify::new(),
        }
    }

    /// The queue of an RPC. One that is new is watched from now on, and the next look makes it if it is missing.
    pub fn of(&self, rpc: &Rpc) -> Arc<Watched> {
        let mut queues = self.queues.lock();
        if let Some(watched) = queues.get(rpc.as_str()) {
            return Arc::clone(watched);
        }
        let watched = Arc::new(Watched::new(rpc));
        Arc::make_mut(&mut queues).insert(rpc.as_str().to_owned(), Arc::clone(&watched));
        watched
    }

    /// Watches only the queues of these RPCs from now on.
    pub fn keep<'a>(&self, rpcs: impl IntoIterator<Item = &'a Rpc>) {
        let kept: BTreeSet<&str> = rpcs.into_iter().map(Rpc::as_str).collect();
        Arc::make_mut(&mut self.queues.lock()).retain(|rpc, _| kept.contains(rpc.as_str()));
    }

    fn queues(&self) -> Arc<Queues> {
        Arc::clone(&self.queues.lock())
    }

    pub async fn run(
        &self,
        source: &Source,
        (connections, beside): (&Connections, &Beside),
        part: &Part,
        stop: &CancellationToken,
    ) {
        let look = || self.look(source, connections, beside);
        tokio::join!(self.listen(source, beside, stop), self.poll(source, beside, look, part, stop));
    }

    /// Waits for the right to listen. There may be fewer than databases: one with traffic gets it, and a quiet one is polled.
    async fn may_listen(&self, source: &Source, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let mut wants = None;
        loop {
            let yields = self.is_quiet() && source.budget().others_want_to_listen();
            if !yields && let Some(place) = source.budget().try_listen() {
                return Some(place);
            }
            wants = match self.is_quiet() {
                true => None,
                false => wants.or_else(|| Some(source.budget().wants_to_listen())),
            };
            // One that is quiet needs no session, and there may be many.
            let every = if self.is_quiet() { QUIET_POLL_EVERY } else { RECONNECT_EVERY };
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.stirred.notified() => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    async fn listen(&self, source: &Source, beside: &Beside, stop: &CancellationToken) {
        let mut said: Option<Instant> = None;
        while !stop.is_cancelled() {
            let Some(place) = self.may_listen(source, stop).await else { return };
            let listening = async {
                source.budget().admits(&source.limited())?;
                let session = Listening::open(source, "outbox worker (bell)", &SESSION).await?;
                session.listen("outbox_delivery").await?;
                beside.over(&session);
                // Notifications may have come before the listen.
                self.look_now.notify_one();
                loop {
                    match tokio::time::timeout(PROBE_EVERY, session.recv()).await {
                        Ok(Ok(notification)) => self.ring(notification.payload()),
                        Ok(Err(error)) => return Err(error),
                        // No notification for a while: the connection may be half-open.
                        Err(_) => {
                            session.run(async |conn| sqlx::query("select 1").execute(conn).await).await?;
                            if self.is_quiet() && source.budget().others_want_to_listen() {
                                session.close().await;
                                return Ok(());
                            }
                        }
                    }
                }
            };
            tokio::select! {
                ended = listening => if let Err(error) = ended {
                    source.budget().heard(&source.limited(), source.name(), Some(&error));
                    if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                        said = Some(Instant::now());
                        tracing::warn!(source = source.name(), error = %Chain(&error), "not listening: polling until the database is back");
                    }
                },
                () = stop.cancelled() => return,
            }
            drop(place);
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn poll<L: Future<Output = Result<(), sqlx::Error>>>(
        &self,
        source: &Source,
        beside: &Beside,
        look: impl Fn() -> L,
        part: &Part,
        stop: &CancellationToken,
    ) {
        while !stop.is_cancelled() {
            match look().await {
                Ok(()) => part.moves(),
                Err(error) => {
                    self.quiet.store(false, Ordering::Relaxed);
                    part.waits(format!("the database does not answer: {}", Chain(&error)));
                    tracing::debug!(source = source.name(), error = %Chain(&error), "poll failed");
                }
            }
            let every = if self.is_quiet() { QUIET_POLL_EVERY } else { POLL_EVERY };
            let nearly_due = Instant::now() + every.mul_f64(NEARLY);
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = async { tokio::time::sleep_until(nearly_due).await; beside.opened().await } => {}
                () = self.look_now.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(
        &self,
        source: &Source,
        connections: &Connections,
        beside: &Beside,
    ) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        let swept = began >= *self.sweep_at.lock();
        let queues = self.queues();
        let looks = beside.run(LOOKED_WITHIN, &LookAt { queues: &queues, swept }).await?;
        let mut quiet = true;
        for (rpc, id, now, due, fresh, lowest_claim, highest_claim, stale, dead) in looks {
            let Some(queue) = queues.get(&rpc) else { continue };
            let Some(id) = id else {
                if queue.from().id.is_some() {
                    tracing::warn!(source = source.name(), rpc = %queue.rpc, "its queue is gone, as after a restore: making it again");
                }
                let mut loan = connections.lend().await?;
                within(super::ids(loan.conn(), [&queue.rpc].into_iter())).await?;
                loan.give_back();
                continue;
            };
            let claims = lowest_claim.zip(highest_claim);
            let is_empty = due.is_none() && !fresh && claims.is_none();
            queue.is_empty(is_empty, swept.then_some(dead));
            quiet &= is_empty;
            let found = Found { id, due, now, claims, swept };
            if queue.saw(found, began.into_std()) {
                tracing::warn!(source = source.name(), rpc = %queue.rpc, queue = id, "its queue has another id, as after a restore");
            }
            let recovered: i64 = if stale {
                let recover =
                    sqlx::query_scalar("select outbox.recover($1, $2)").bind(id).bind(queue.from().claims);
                connections.run(async |conn| recover.fetch_one(conn).await).await?
            } else {
                0
            };
            if recovered > 0 {
                tracing::warn!(
                    source = source.name(),
                    rpc = %queue.rpc,
                    deliveries = recovered,
                    "their worker did not settle them: delivering again"
                );
            }
            let is_due = recovered > 0 || due.is_some_and(|due| due <= now);
            if is_due {
                queue.widen();
            }
            if fresh || is_due {
                queue.ring();
            }
        }
        if self.quiet.swap(quiet, Ordering::Relaxed) && !quiet {
            self.stirred.notify_one();
        }
        if swept {
            let every = SWEEP_EVERY.max(began.elapsed() * SWEEP_SHARE);
            *self.sweep_at.lock() = began + every;
        }
        Ok(())
    }

    /// The notification names the queue by its id.
    fn ring(&self, queue: &str) {
        let id: Option<i32> = queue.parse().ok();
        let rings = |queue: &&Arc<Watched>| id.is_some() && queue.from().id == id;
        // The next polls find what follows from this.
        if self.quiet.swap(false, Ordering::Relaxed) {
            self.look_now.notify_one();
        }
        // No match: the RPC is another worker's, or the next look finds the queue.
        if let Some(queue) = self.queues().values().find(rings) {
            queue.ring();
        }
    }
}

/// An RPC, and of its queue: the id, the server's clock, when the first retry is due, and whether the log has new rows. Then
/// the lowest and the highest claim, whether claims need cleaning up, and whether there are dead letters, if it reads that.
type Look =
    (String, Option<i32>, DateTime<Utc>, Option<DateTime<Utc>>, bool, Option<i64>, Option<i64>, bool, bool);

struct LookAt<'a> {
    queues: &'a Queues,
    swept: bool,
}

impl Statements for LookAt<'_> {
    type Answer = Vec<Look>;

    async fn run(&self, conn: &mut PgConnection) -> Result<Vec<Look>, sqlx::Error> {
        query(self.queues, self.swept).fetch_all(conn).await
    }
}

/// For every queue: its id, the first retry that is due, whether its log has new rows, and its claims.
fn query(
    queues: &Queues,
    sweep: bool,
) -> sqlx::query::QueryAs<'static, sqlx::Postgres, Look, sqlx::postgres::PgArguments> {
    let from: Vec<From> = queues.values().map(|queue| queue.from()).collect();
    sqlx::query_as(
        "select w.rpc, q.id, clock_timestamp() as now,
                (select greatest(least(r.due_at, clock_timestamp() + interval '100 years'), clock_timestamp() - interval '100 years')
                 from outbox.retry as r
                 where r.queue = q.id and r.due_at >= coalesce(w.due_from, '-infinity') order by r.due_at limit 1) as due,
                exists (select from outbox.delivery as d where d.queue = q.id and d.seq > q.head) as fresh,
                (select c.id from outbox.claim as c
                 where c.queue = q.id and c.id >= w.claims_from order by c.id limit 1) as lowest_claim,
                (select c.id from outbox.claim as c where c.queue = q.id order by c.id desc limit 1) as highest_claim,
                exists (select from outbox.claim as c
                        where c.queue = q.id and c.id >= w.claims_from and c.until < clock_timestamp())
                or exists (select from outbox.claim as c
                           where c.queue = q.id and c.id >= w.claims_from offset 100) as stale,
                $4 and exists (select from outbox.dead_letter as l where l.queue = q.id) as dead
         from unnest($1::text[], $2::timestamptz[], $3::bigint[]) as w (rpc, due_from, claims_from)
         left join lateral (select h.queue as id, h.seq as head from outbox.queue_head as h
                            where h.rpc = w.rpc limit 1) as q on true",
    )
    .bind(queues.keys().cloned().collect::<Vec<_>>())
    .bind(from.iter().map(|from| from.due.filter(|_| !sweep)).collect::<Vec<_>>())
    .bind(from.iter().map(|from| from.claims).collect::<Vec<_>>())
    .bind(sweep)
}
