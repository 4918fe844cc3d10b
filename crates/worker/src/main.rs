mod addressed; // services.yaml and flags -> the client

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use outbox_contract::{Contract, ReadError, Selection, Sources};
use outbox_event_router::Router;
use outbox_postgres::{Budget, Source};
use outbox_runtime::{Build, Patience, Started, refuse};
use outbox_transport::args::Transport;
use outbox_worker::Pace;
use outbox_worker::config::Cli;
use outbox_worker::plan::{Plan, Plans};
use outbox_worker::postgres::{self, Settings};
use outbox_worker::rpc::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::addressed::mistake;

const BUILD: Build =
    Build { program: "worker", version: env!("CARGO_PKG_VERSION"), revision: outbox_revision::REVISION };
/// A second for the claims, and as much again for unfinished calls.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);
/// Beside the longest call, to record its outcome.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.logs.init();
    outbox_runtime::block_on(async { start(cli).await.unwrap_or_else(|refused| refused) })
}

async fn start(cli: Cli) -> Result<ExitCode, ExitCode> {
    let sources = match cli.transport.transport {
        Transport::Postgres => outbox_postgres::databases(&cli.transport.databases),
        Transport::Aws => Ok(Vec::new()),
    };
    let sources = sources.map_err(|(problem, remedy)| refuse(&problem, remedy))?;
    let first = plan(&cli).map_err(|mistake| {
        eprintln!("{mistake}");
        ExitCode::from(2)
    })?;
    let started = outbox_runtime::start(BUILD, cli.metrics_addr).await?;
    let (newest, plans) = watch::channel(first);
    warn_of_cuts(&cli, &plans);
    tokio::spawn(addressed::say(plans.clone()));
    let cli = Arc::new(cli);
    let read = {
        let cli = Arc::clone(&cli);
        move || plan(&cli)
    };
    tokio::spawn(outbox_worker::plan::follow(started.clone(), read, newest));

    Ok(match cli.transport.transport {
        Transport::Postgres => postgres(&cli, sources, &plans, &started).await,
        Transport::Aws => aws(&cli, &plans, &started).await,
    })
}

/// What is read at the start, and again at each SIGHUP: event_router.yaml, services.yaml and proto. `Err` is the text for the
/// user.
fn plan(cli: &Cli) -> Result<Plan<Client>, String> {
    let router = Router::read(cli.transport.router()).map_err(|error| error.to_string())?;
    let contract = contract(cli, &router)
        .map_err(|error| mistake(&error.to_string(), "see --proto in worker --help"))?;
    let client = addressed::client(cli, &router, contract.as_ref())?;
    Ok(Plan::new(router, client))
}

async fn postgres(cli: &Cli, sources: Vec<Source>, plans: &Plans<Client>, started: &Started) -> ExitCode {
    let (name, pace) = (outbox_runtime::process_name(), Pace::default());
    let settings = Settings { name, visibility: cli.visibility, pace };
    let names = sources.iter().map(|source| source.name().to_owned());
    let (databases, standings) = outbox_runtime::Sources::of(&started.readiness, "delivering", names);
    let mut workers = JoinSet::new();
    let given = cli.connections.map(|connections| connections as usize);
    let connections = given.unwrap_or_else(|| outbox_postgres::worker_connections(sources.len()));
    let budget = Budget::of(connections, sources.len());
    for (source, standing) in sources.into_iter().map(|source| source.within(&budget)).zip(standings) {
        let (plans, settings, started) = (plans.clone(), settings.clone(), started.clone());
        workers.spawn(async move { postgres::run_by(&source, &plans, &settings, &standing, &started).await });
    }
    outbox_runtime::until_stopped(workers, &databases, started, || patience(cli, plans)).await
}

/// The time of a stop, by the policies of this moment.
fn patience(cli: &Cli, plans: &Plans<Client>) -> Patience {
    let longest = plans.borrow().router.rpcs().map(|(_, policy)| policy.timeout).max().unwrap_or_default();
    Patience { finish: cli.stop_within.unwrap_or(longest + RECORDED_WITHIN), give_back: GIVE_BACK_WITHIN }
}

/// Warns of calls that a stop would cut off.
fn warn_of_cuts(cli: &Cli, plans: &Plans<Client>) {
    let Some(finish) = cli.stop_within else { return };
    let router = Arc::clone(&plans.borrow().router);
    for (rpc, policy) in router.rpcs().filter(|(_, policy)| policy.timeout > finish) {
        tracing::warn!(
            %rpc,
            timeout_seconds = policy.timeout.as_secs_f64(),
            stop_within_seconds = finish.as_secs_f64(),
            "a stop would cut off its longest calls, which are then made again: see --stop-within"
        );
    }
}

#[cfg(feature = "aws")]
async fn aws(cli: &Cli, plans: &Plans<Client>, started: &Started) -> ExitCode {
    /// If a request takes longer, it or its answer is lost.
    const ASK_WITHIN: Duration = Duration::from_secs(5);
    let config = outbox_aws::config(ASK_WITHIN).await;
    outbox_aws::say_what_is_missing(&config).await;
    let settings = outbox_worker::aws::Settings {
        name: outbox_runtime::process_name(),
        queue_prefix: cli.queues.queue_prefix.clone(),
        dedup_table: cli.queues.dedup_table.clone(),
        visibility: cli.visibility,
        roster_every: cli.roster_every,
    };
    let (own, shared) = (plans.clone(), started.clone());
    let mut workers = JoinSet::new();
    workers.spawn(async move { outbox_worker::aws::run_by(&config, &own, &settings, &shared).await });
    let none = outbox_runtime::Sources::default();
    outbox_runtime::until_stopped(workers, &none, started, || patience(cli, plans)).await
}

#[cfg(not(feature = "aws"))]
async fn aws(_: &Cli, _: &Plans<Client>, _: &Started) -> ExitCode {
    refuse("this worker was built without AWS", "build it with its default features")
}

fn contract(cli: &Cli, router: &Router) -> Result<Option<Contract>, ReadError> {
    if cli.proto.is_empty() {
        return Ok(None);
    }
    let events = Selection::new(&cli.events_packages, router.packages());
    let contract = Sources { protos: cli.proto.clone(), includes: Vec::new(), events }.read()?;
    for found in contract.passed_over() {
        tracing::warn!(place = %found.place, remedy = found.hint, "{}", found.message);
    }
    Ok(Some(contract))
}
