//! The embedded transport: the lanes of one database, whose queues and dedup record are tables in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_router::{Policy, Router, Rpc};
use outbox_postgres::{Connections, Source};
use outbox_schema::SchemaError;
use runtime::{Chain, Finished, Part, Standing, Started, Trouble};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::breaker::Breaker;
use crate::dedup::PostgresDedup;
use crate::depths;
use crate::lane::Lane;
use crate::meter::Meter;
use crate::queue::{self, Bell, PostgresQueue, Watched};
use crate::rpc::RpcClient;
use crate::unrecorded::Unrecorded;
use crate::word;

const CONNECTIONS_MAX: u32 = 16;
const DEPTH_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether a database that does not answer as it should still fits.
const FITS_EVERY: Duration = Duration::from_secs(5);
/// Of a connection, and the few statements that find out whether a database fits.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// A database that is away is not waited for at the end: what is claimed comes back by itself.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);

/// What one worker process may be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who claims deliveries, for people who look at them.
    pub name: String,
    /// How long a received message stays hidden from other workers.
    pub visibility: Duration,
}

/// Delivers from one database's queues until `stop`. Whatever is wrong with it is said and waited for.
pub async fn run<C: RpcClient + Clone>(
    source: &Source,
    router: &Router,
    client: &C,
    settings: &Settings,
    standing: &Standing,
    started: &Started,
) -> Finished {
    // A term may end before what it knew of successes is recorded: the next one still knows.
    let unrecorded = router.rpcs().map(|(rpc, policy)| {
        let lease = lease(policy, settings);
        (rpc.clone(), Unrecorded::new(lease, settings.visibility))
    });
    let unrecorded: HashMap<Rpc, Unrecorded> = unrecorded.collect();
    let term = || {
        let term = Term { source, router, client, settings, standing, started, unrecorded: &unrecorded };
        term.run()
    };
    standing.tend(&started.stop, term).await.unwrap_or(Finished::All)
}

/// As long as a call may take, and as much longer as its message stays hidden: that is the time to record it.
fn lease(policy: &Policy, settings: &Settings) -> Duration {
    policy.timeout + settings.visibility
}

/// From when the database was found to fit until the stop, or until it does not fit any more.
struct Term<'a, C> {
    source: &'a Source,
    router: &'a Router,
    client: &'a C,
    settings: &'a Settings,
    standing: &'a Standing,
    started: &'a Started,
    unrecorded: &'a HashMap<Rpc, Unrecorded>,
}

impl<C: RpcClient + Clone> Term<'_, C> {
    async fn run(self) -> Result<Finished, Trouble> {
        let Self { source, router, settings, standing, .. } = self;
        let lanes = u32::try_from(router.rpcs().count()).unwrap_or(u32::MAX);
        let size = lanes.saturating_mul(3).saturating_add(1).clamp(4, CONNECTIONS_MAX);
        let connections = source.connections("outbox worker", &queue::SESSION, size);
        let opened = tokio::select! {
            opened = answered(queues(source, router)) => opened,
            () = self.started.stop.cancelled() => return Ok(Finished::All),
        };
        opened.map_err(|error| Trouble::of(&error, error.is_transient()))?;
        standing.works();
        let rpcs = router.rpcs().count();
        tracing::info!(source = source.name(), rpcs, worker = settings.name, "delivering");

        let stop = self.started.stop.child_token();
        let bell = Bell::new(router.rpcs().map(|(rpc, _)| rpc));
        let mut lanes = JoinSet::new();
        for (rpc, policy) in router.rpcs() {
            lanes.spawn(self.lane(rpc, *policy, bell.of(rpc), &connections, &stop));
        }
        let part = standing.part();
        let ringing = async {
            let ringing = runtime::again("bell", part, &stop, || async {
                bell.run(source, &connections, part, &stop).await;
                Ok(())
            });
            // It may be waiting for an answer.
            tokio::select! {
                _ = ringing => {}
                () = stop.cancelled() => {}
            }
        };
        let landing = async {
            let mut finished = Finished::All;
            while let Some(landed) = lanes.join_next().await {
                finished = finished.and(landed.unwrap_or(Finished::NotAll));
            }
            finished
        };
        let unfit = async {
            let trouble = no_longer_fits(source, part, &stop).await;
            stop.cancel();
            trouble
        };
        let ((), finished, trouble) = tokio::join!(ringing, landing, unfit);
        let ending = async {
            release(source, &connections, &settings.name).await;
            connections.close().await;
        };
        let _ = tokio::time::timeout(RELEASED_WITHIN, ending).await;
        trouble.map_or(Ok(finished), Err)
    }

    /// One RPC's lane, and beside it what measures its queue. If either panics, it is begun again.
    fn lane(
        &self,
        rpc: &Rpc,
        policy: Policy,
        watched: Arc<Watched>,
        connections: &Connections,
        stop: &CancellationToken,
    ) -> impl Future<Output = Finished> + Send + 'static + use<C> {
        let settings = self.settings;
        let (source, rpc, started) = (self.source.name().to_owned(), rpc.clone(), self.started.clone());
        let (client, worker, visibility) = (self.client.clone(), settings.name.clone(), settings.visibility);
        let (unrecorded, lease) = (self.unrecorded[&rpc].clone(), lease(&policy, settings));
        let (connections, stop) = (connections.clone(), stop.clone());
        async move {
            let (Started { give_up, readiness, tracer, .. }, meter) = (&started, Meter::new(&source, &rpc));
            let queue = || {
                let (connections, watched) = (connections.clone(), Arc::clone(&watched));
                Arc::new(PostgresQueue::new(connections, watched, &worker, visibility, lease))
            };
            let breaker = Arc::new(Mutex::new(Breaker::new(policy.backoff, true)));
            let lane = || Lane {
                rpc: rpc.clone(),
                policy,
                queue: queue(),
                dedup: Arc::new(PostgresDedup::new(connections.clone(), &rpc, lease)),
                client: client.clone(),
                unrecorded: unrecorded.clone(),
                aside: Aside::default(),
                breaker: Arc::clone(&breaker),
                meter: meter.clone(),
                readiness: readiness.clone(),
                tracer: tracer.clone(),
            };
            let (name, part) = (meter.name(), readiness.part(meter.name()));
            let delivering = runtime::again(&name, &part, &stop, || lane().run(&stop, give_up));
            let looked_at = queue();
            let watching = runtime::again("depth", &part, &stop, || async {
                let depths = depths::watch(&source, &rpc, &*looked_at, DEPTH_EVERY);
                tokio::join!(depths, word::watch(&rpc, &meter, &breaker, &*looked_at));
                Ok(())
            });
            tokio::select! {
                finished = delivering => finished.unwrap_or(Finished::NotAll),
                never = depths::for_ever(watching) => match never {},
            }
        }
    }
}

/// While the database does not answer as it should, looks whether that is because it does not fit any more: one that was
/// restored from an old copy, say. `None` at `stop`.
async fn no_longer_fits(source: &Source, part: &Part, stop: &CancellationToken) -> Option<Trouble> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FITS_EVERY) => {}
            () = stop.cancelled() => return None,
        }
        if part.waited().is_none() {
            continue;
        }
        let fit = tokio::select! {
            fit = answered(fits(source)) => fit,
            () = stop.cancelled() => return None,
        };
        match fit {
            Err(error) if !error.is_transient() => return Some(Trouble::of(&error, false)),
            Ok(()) | Err(_) => {}
        }
    }
}

/// On a connection that is half-open an answer would take for ever.
async fn answered<T>(asked: impl Future<Output = Result<T, SchemaError>>) -> Result<T, SchemaError> {
    let timed_out = |_| SchemaError::Read(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(ANSWERED_WITHIN, asked).await.map_err(timed_out)?
}

async fn fits(source: &Source) -> Result<(), SchemaError> {
    let mut conn = source.connect("outbox worker", &[]).await.map_err(SchemaError::Read)?;
    outbox_schema::check(&mut conn).await
}

/// Makes the queues that are new.
async fn queues(source: &Source, router: &Router) -> Result<(), SchemaError> {
    let mut conn = source.connect("outbox worker", &[]).await.map_err(SchemaError::Read)?;
    outbox_schema::check(&mut conn).await?;
    let rpcs = router.rpcs().map(|(rpc, _)| rpc);
    outbox_postgres::queue::ids(&mut conn, rpcs).await.map_err(SchemaError::Read)?;
    Ok(())
}

/// What is still claimed at the end, because the process does not wait for it any longer, need not wait for its
/// visibility to end.
async fn release(source: &Source, connections: &Connections, worker: &str) {
    let release = sqlx::query(
        "update outbox.claim set until = clock_timestamp() where worker = $1 and until is not null",
    )
    .bind(worker);
    let released = async {
        let mut loan = connections.lend().await?;
        let done = outbox_postgres::within(release.execute(loan.conn())).await?;
        loan.give_back();
        Ok::<_, sqlx::Error>(done)
    };
    match released.await {
        Ok(done) if done.rows_affected() > 0 => {
            tracing::warn!(
                source = source.name(),
                batches = done.rows_affected(),
                "gave back what was not settled"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(source = source.name(), error = %Chain(&error), "failed to give back"),
    }
}
