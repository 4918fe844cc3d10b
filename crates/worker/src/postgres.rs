//! The Postgres transport: the consumers of one database, whose queues and dedup record are tables in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::{Router, Rpc};
use outbox_postgres::queue::{self, Bell, BrakeTable, PostgresQueue, Watched};
use outbox_postgres::{Beside, Connections, ProcessRow, SESSION, Source};
use outbox_runtime::{Chain, Finished, Part, Standing, Started, Trouble};
use outbox_schema::SchemaError;
use outbox_transport::process::{Process, Program, shown_beside};
use tokio_util::sync::CancellationToken;

use crate::braking;
use crate::pace::Pace;
use crate::plan::{Plan, Plans};
use crate::process::Look;
use crate::rpc::RpcClient;
use crate::served::{Served, consumers};
use crate::subscriber::Subscriber;
use crate::supervise::{Stops, consume};

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

/// Delivers from one database's queues until `stop`, by a plan that stays.
pub async fn run<C: RpcClient + Clone>(
    source: &Source,
    router: &Router,
    client: &C,
    settings: &Settings,
    standing: &Standing,
    started: &Started,
) -> Finished {
    run_by(source, &Plan::fixed(router, client.clone()), settings, standing, started).await
}

/// Delivers from one database's queues until `stop`, by the newest plan. It reports any trouble with the database, and waits.
pub async fn run_by<C: RpcClient + Clone>(
    source: &Source,
    plans: &Plans<C>,
    settings: &Settings,
    standing: &Standing,
    started: &Started,
) -> Finished {
    // A term may end before its successes are recorded: the next one keeps them.
    let served = Served::by(plans, source.name(), (settings.visibility, settings.pace), true, started);
    let beside = source.beside("outbox worker (beside)");
    let term = || term((source, &beside), &served, plans, &settings.name, standing, started);
    let process =
        Process::new(Program::Worker, &settings.name, env!("CARGO_PKG_VERSION"), started.address.clone());
    let look = Look {
        process: process.built_from(outbox_revision::known()),
        readiness: &started.readiness,
        source: Some(source.name()),
        served: &served,
        plans: plans.clone(),
        unaddressed: Vec::new(),
        since: BTreeMap::new(),
        news: None,
    };
    let work = Box::pin(standing.tend(&started.stop, term));
    shown_beside(work, ProcessRow::beside(beside.clone()), look).await.unwrap_or(Finished::All)
}

/// From a successful check of the database to the stop, or to the next check that fails.
async fn term<C: RpcClient + Clone>(
    (source, beside): (&Source, &Beside),
    served: &Served<C>,
    plans: &Plans<C>,
    worker: &str,
    standing: &Standing,
    started: &Started,
) -> Result<Finished, Trouble> {
    let rpcs = served.rpcs();
    let many = u32::try_from(rpcs.len()).unwrap_or(u32::MAX);
    let size = many.saturating_mul(3).saturating_add(1).clamp(4, CONNECTIONS_MAX);
    let connections = source.connections("outbox worker", &SESSION, size);
    let Some(opened) =
        started.stop.run_until_cancelled(Box::pin(answered(queues(source, rpcs.iter())))).await
    else {
        return Ok(Finished::All);
    };
    opened.map_err(|error| Trouble::of(&error, error.is_transient()))?;
    standing.works();
    tracing::info!(source = source.name(), rpcs = rpcs.len(), worker, "delivering");

    let stop = started.stop.child_token();
    let brakes = BrakeTable::beside(beside.clone());
    braking::first_look(&brakes, |read| served.brake(read)).await;
    let bell = Bell::new(&rpcs);
    let begin = |subscriber: Subscriber<C>, stops| {
        let watched = bell.of(&subscriber.rpc);
        consumer(subscriber, watched, connections.clone(), worker.to_owned(), stops)
    };
    let delivering =
        consumers(served, plans.clone(), (&stop, &started.give_up), begin, || bell.keep(&served.rpcs()));
    let part = standing.part();
    // At the stop it may be waiting for an answer.
    let ringing = stop.run_until_cancelled(outbox_runtime::again("bell", part, &stop, || async {
        Box::pin(bell.run(source, (&connections, beside), part, &stop)).await;
        Ok(())
    }));
    let unfit = async {
        let trouble = no_longer_fits(source, part, &stop).await;
        stop.cancel();
        trouble
    };
    let following = braking::follow(&brakes, |read| served.brake(read), &stop);
    let (_, finished, trouble, ()) = tokio::join!(ringing, Box::pin(delivering), unfit, following);
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
    stops: Stops,
) -> Finished {
    let Subscriber { metrics, visibility, lease, readiness, .. } = &subscriber;
    let open = || {
        let (connections, watched) = (connections.clone(), Arc::clone(&watched));
        let queue = Arc::new(PostgresQueue::watched(connections, watched, &worker, *visibility, *lease));
        std::future::ready(Some((Arc::clone(&queue), queue.dedup(), queue)))
    };
    let part = readiness.part(metrics.name());
    consume(&subscriber, &part, DEPTH_EVERY, &stops, open).await
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
    let _place = source.place().await?;
    let mut conn = source.connect("outbox worker", &[]).await?;
    outbox_schema::check(&mut conn).await
}

async fn queues<'a>(source: &Source, rpcs: impl Iterator<Item = &'a Rpc>) -> Result<(), SchemaError> {
    let _place = source.place().await?;
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
