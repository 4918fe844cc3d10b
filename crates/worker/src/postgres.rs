//! The Postgres transport: the consumers of one database, whose queues and dedup record are tables in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::{Router, Rpc};
use outbox_postgres::queue::{self, Bell, BrakeTable, PostgresQueue, Watched};
use outbox_postgres::{Connections, SESSION, Source};
use outbox_runtime::{Chain, Finished, Part, Standing, Started, Trouble};
use outbox_schema::SchemaError;
use outbox_transport::process::{Process, Program, shown_beside};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::braking::{self, Braking};
use crate::pace::Pace;
use crate::process::{Look, unaddressed};
use crate::rpc::{RpcClient, Serves};
use crate::subscriber::Subscriber;
use crate::supervise::{all_finished, consume};

const CONNECTIONS_MAX: u32 = 16;
const DEPTH_EVERY: Duration = Duration::from_secs(10);
/// How often a database that fails is checked for whether it still fits.
const FITS_EVERY: Duration = Duration::from_secs(5);
/// The limit for a connection and the few statements of that check.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// At the end the process does not wait for a database that is away: its claims end by themselves.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Settings {
    /// The worker's name in claims, for operators.
    pub name: String,
    /// How long a received message stays hidden from other workers.
    pub visibility: Duration,
    pub pace: Pace,
}

/// Delivers from one database's queues until `stop`. It reports any trouble with the database, and waits.
pub async fn run<C: RpcClient + Clone>(
    source: &Source,
    router: &Router,
    client: &C,
    settings: &Settings,
    standing: &Standing,
    started: &Started,
) -> Finished {
    // A term may end before its successes are recorded: the next one keeps them.
    let subscriber = |rpc| {
        let (client, visibility) = (client.clone(), settings.visibility);
        Subscriber::new(source.name(), rpc, client, visibility, true, started).paced(settings.pace, true)
    };
    let served = router.rpcs().filter(|(rpc, _)| client.serves(rpc) == Serves::Yes);
    let subscribers: Vec<_> = served.map(subscriber).collect();
    let term = || term(source, &subscribers, &settings.name, standing, started);
    let process =
        Process::new(Program::Worker, &settings.name, env!("CARGO_PKG_VERSION"), started.address.clone());
    let mut look = Look {
        process: process.routed_by(router).built_from(outbox_revision::known()),
        readiness: &started.readiness,
        source: Some(source.name()),
        subscribers: &subscribers,
        unaddressed: unaddressed(router, client),
        since: BTreeMap::new(),
    };
    let work = Box::pin(standing.tend(&started.stop, term));
    let row = source.process_row("outbox worker (process)");
    shown_beside(work, row, || look.now()).await.unwrap_or(Finished::All)
}

/// From a successful check of the database to the stop, or to the next check that fails.
async fn term<C: RpcClient + Clone>(
    source: &Source,
    subscribers: &[Subscriber<C>],
    worker: &str,
    standing: &Standing,
    started: &Started,
) -> Result<Finished, Trouble> {
    let rpcs = || subscribers.iter().map(|subscriber| &subscriber.rpc);
    let consumers = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
    let size = consumers.saturating_mul(3).saturating_add(1).clamp(4, CONNECTIONS_MAX);
    let connections = source.connections("outbox worker", &SESSION, size);
    let Some(opened) = started.stop.run_until_cancelled(Box::pin(answered(queues(source, rpcs())))).await
    else {
        return Ok(Finished::All);
    };
    opened.map_err(|error| Trouble::of(&error, error.is_transient()))?;
    standing.works();
    tracing::info!(source = source.name(), rpcs = subscribers.len(), worker, "delivering");

    let stop = started.stop.child_token();
    let brakes = BrakeTable::new(connections.clone());
    let braked: Vec<Braking> = subscribers.iter().map(|subscriber| subscriber.braking.clone()).collect();
    braking::first_look(&brakes, &braked).await;
    let bell = Bell::new(rpcs());
    let mut consumers = JoinSet::new();
    for subscriber in subscribers {
        let (watched, worker) = (bell.of(&subscriber.rpc), worker.to_owned());
        let (connections, stop, give_up) = (connections.clone(), stop.clone(), started.give_up.clone());
        consumers.spawn(consumer(subscriber.clone(), watched, connections, worker, stop, give_up));
    }
    let part = standing.part();
    // At the stop it may be waiting for an answer.
    let ringing = stop.run_until_cancelled(outbox_runtime::again("bell", part, &stop, || async {
        Box::pin(bell.run(source, &connections, part, &stop)).await;
        Ok(())
    }));
    let unfit = async {
        let trouble = no_longer_fits(source, part, &stop).await;
        stop.cancel();
        trouble
    };
    let following = braking::follow(&brakes, &braked, &stop);
    let (_, finished, trouble, ()) = tokio::join!(ringing, all_finished(consumers), unfit, following);
    let ending = async {
        release(source, &connections, worker).await;
        connections.close().await;
    };
    let _ = tokio::time::timeout(RELEASED_WITHIN, ending).await;
    trouble.map_or(Ok(finished), Err)
}

async fn consumer<C: RpcClient + Clone>(
    subscriber: Subscriber<C>,
    watched: Arc<Watched>,
    connections: Connections,
    worker: String,
    stop: CancellationToken,
    give_up: CancellationToken,
) -> Finished {
    let Subscriber { metrics, visibility, lease, readiness, .. } = &subscriber;
    let open = || {
        let (connections, watched) = (connections.clone(), Arc::clone(&watched));
        let queue = Arc::new(PostgresQueue::new(connections, watched, &worker, *visibility, *lease));
        std::future::ready(Some((Arc::clone(&queue), queue.dedup(), queue)))
    };
    let part = readiness.part(metrics.name());
    consume(&subscriber, &part, DEPTH_EVERY, (&stop, &give_up), open).await
}

/// While the database fails, checks whether it no longer fits, for example after a restore of an old copy. `None` at `stop`.
async fn no_longer_fits(source: &Source, part: &Part, stop: &CancellationToken) -> Option<Trouble> {
    loop {
        stop.run_until_cancelled(tokio::time::sleep(FITS_EVERY)).await?;
        if part.waited().is_none() {
            continue;
        }
        match stop.run_until_cancelled(Box::pin(answered(fits(source)))).await? {
            Err(error) if !error.is_transient() => return Some(Trouble::of(&error, false)),
            Ok(()) | Err(_) => {}
        }
    }
}

/// On a half-open connection no answer would come.
async fn answered<T>(asked: impl Future<Output = Result<T, SchemaError>>) -> Result<T, SchemaError> {
    let timed_out = |_| SchemaError::Read(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(ANSWERED_WITHIN, asked).await.map_err(timed_out)?
}

async fn fits(source: &Source) -> Result<(), SchemaError> {
    let mut conn = source.connect("outbox worker", &[]).await?;
    outbox_schema::check(&mut conn).await
}

async fn queues<'a>(source: &Source, rpcs: impl Iterator<Item = &'a Rpc>) -> Result<(), SchemaError> {
    let mut conn = source.connect("outbox worker", &[]).await?;
    outbox_schema::check(&mut conn).await?;
    queue::ids(&mut conn, rpcs).await?;
    Ok(())
}

/// What is still claimed at the end need not wait for its visibility to end.
async fn release(source: &Source, connections: &Connections, worker: &str) {
    match queue::give_back(connections, worker).await {
        Ok(0) => {}
        Ok(batches) => {
            tracing::warn!(source = source.name(), batches, "gave back what was not settled");
        }
        Err(error) => tracing::debug!(source = source.name(), error = %Chain(&error), "failed to give back"),
    }
}
