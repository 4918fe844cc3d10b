//! The embedded transport: the lanes of one database, whose queues and dedup record are tables in it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backoff::{BackoffBuilder, ExponentialBuilder};
use event_router::Router;
use outbox_schema::{Connections, SchemaError, Source};
use runtime::{Chain, Part, Started};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::dedup::PostgresDedup;
use crate::depths;
use crate::lane::Lane;
use crate::meter::Meter;
use crate::queue::{self, Bell, PostgresQueue};
use crate::rpc::RpcClient;
use crate::settler::Unrecorded;

const CONNECTIONS_MAX: u32 = 16;
const DEPTH_EVERY: Duration = Duration::from_secs(10);

/// What one worker process may be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who claims deliveries, for people who look at them.
    pub name: String,
    /// How long a received message stays hidden from other workers.
    pub visibility: Duration,
}

/// Delivers from one database's queues until `stop`. A database that is down is waited for.
///
/// # Errors
///
/// Only what waiting does not mend: a schema that this build can't work with.
pub async fn run<C: RpcClient + Clone>(
    source: &Source,
    router: &Router,
    client: &C,
    settings: &Settings,
    Started { stop, readiness, tracer, .. }: &Started,
) -> Result<(), SchemaError> {
    let part = readiness.part(source.name());
    let lanes = u32::try_from(router.rpcs().count()).unwrap_or(u32::MAX);
    let size = lanes.saturating_mul(3).saturating_add(1).clamp(4, CONNECTIONS_MAX);
    let connections = source.connections("outbox worker", &queue::SESSION, size);
    if !open(source, router, &part, stop).await? {
        return Ok(());
    }
    part.moves();
    tracing::info!(
        source = source.name(),
        rpcs = router.rpcs().count(),
        worker = settings.name,
        "delivering"
    );

    let bell = Arc::new(Bell::new(router.rpcs().map(|(rpc, _)| rpc)));
    let (mut lanes, mut watches) = (JoinSet::new(), JoinSet::new());
    for (rpc, policy) in router.rpcs() {
        // As long as a call may take, and as much longer as its message stays hidden: that is the time to record it.
        let lease = policy.timeout + settings.visibility;
        let queue = Arc::new(PostgresQueue::new(
            connections.clone(),
            bell.of(rpc),
            &settings.name,
            settings.visibility,
            lease,
        ));
        let watched = (source.name().to_owned(), rpc.clone(), Arc::clone(&queue));
        watches.spawn(async move {
            depths::watch(&watched.0, &watched.1, &*watched.2, DEPTH_EVERY).await;
        });
        let lane = Lane {
            rpc: rpc.clone(),
            policy: *policy,
            queue,
            dedup: Arc::new(PostgresDedup::new(connections.clone(), rpc, lease)),
            client: client.clone(),
            unrecorded: Unrecorded::default(),
            breaker: Mutex::new(Breaker::new(policy.backoff)),
            meter: Meter::new(source.name(), rpc),
            readiness: readiness.clone(),
            tracer: tracer.clone(),
        };
        let stop = stop.clone();
        lanes.spawn(async move { lane.run(&stop).await });
    }
    let ringing = bell.run(source, &connections, &part, stop);
    let landing = async { while lanes.join_next().await.is_some() {} };
    tokio::join!(ringing, landing);
    watches.shutdown().await;
    release(source, &connections, &settings.name).await;
    connections.close().await;
    Ok(())
}

/// Makes the queues that are new. `false` at `stop`.
async fn open(
    source: &Source,
    router: &Router,
    part: &Part,
    stop: &CancellationToken,
) -> Result<bool, SchemaError> {
    let mut backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        let error = match queues(source, router).await {
            Ok(()) => return Ok(true),
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        let wait = backoff.next().unwrap_or(Duration::from_secs(5));
        part.waits(Chain(&error).to_string());
        tracing::warn!(source = source.name(), error = %Chain(&error), retry_in_seconds = wait.as_secs_f64(), "not delivering: connecting again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

async fn queues(source: &Source, router: &Router) -> Result<(), SchemaError> {
    let mut conn = source.connect("outbox worker", &[]).await.map_err(SchemaError::Read)?;
    outbox_schema::check(&mut conn).await?;
    let rpcs = router.rpcs().map(|(rpc, _)| rpc);
    outbox_schema::queues(&mut conn, rpcs).await.map_err(SchemaError::Read)?;
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
        let done = outbox_schema::within(release.execute(loan.conn())).await?;
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
