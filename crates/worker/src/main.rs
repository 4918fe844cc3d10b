mod addressed; // services.yaml and flags -> the client

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use outbox_contract::{Contract, ReadError, Selection, Sources};
use outbox_event_router::Router;
use outbox_postgres::Source;
use outbox_runtime::{Build, Patience, Started, refuse};
use outbox_transport::args::Transport;
use outbox_worker::Pace;
use outbox_worker::config::Cli;
use outbox_worker::postgres::{self, Settings};
use outbox_worker::rpc::Client;
use tokio::task::JoinSet;

const BUILD: Build =
    Build { program: "worker", version: env!("CARGO_PKG_VERSION"), revision: outbox_revision::REVISION };
/// A second for the claims, and as much again for unfinished calls.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);

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
    let router = Router::read(cli.transport.router()).map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })?;
    let contract = contract(&cli, &router)
        .map_err(|error| refuse(&error.to_string(), "see --proto in worker --help"))?;
    let client = addressed::client(&cli, &router, contract.as_ref())?;
    let started = outbox_runtime::start(BUILD, cli.metrics_addr).await?;
    metrics::gauge!("outbox_process_info", "program" => "worker", "router" => router.digest()).set(1.0);
    addressed::say(&router, &client);

    Ok(match cli.transport.transport {
        Transport::Postgres => postgres(&cli, sources, &router, &client, &started).await,
        Transport::Aws => aws(&cli, &router, &client, &started).await,
    })
}

async fn postgres(
    cli: &Cli,
    sources: Vec<Source>,
    router: &Router,
    client: &Client,
    started: &Started,
) -> ExitCode {
    let (name, pace) = (outbox_runtime::process_name(), Pace::default());
    let settings = Settings { name, visibility: cli.visibility, pace };
    let names = sources.iter().map(|source| source.name().to_owned());
    let (databases, standings) = outbox_runtime::Sources::of(&started.readiness, "delivering", names);
    let mut workers = JoinSet::new();
    for (source, standing) in sources.into_iter().zip(standings) {
        let (router, client, settings) = (router.clone(), client.clone(), settings.clone());
        let started = started.clone();
        workers.spawn(async move {
            postgres::run(&source, &router, &client, &settings, &standing, &started).await
        });
    }
    outbox_runtime::until_stopped(workers, &databases, started, patience(cli, router)).await
}

/// Warns of calls that a stop would cut off.
fn patience(cli: &Cli, router: &Router) -> Patience {
    let finish = cli.stop_within;
    for (rpc, policy) in router.rpcs().filter(|(_, policy)| policy.timeout > finish) {
        tracing::warn!(
            %rpc,
            timeout_seconds = policy.timeout.as_secs_f64(),
            stop_within_seconds = finish.as_secs_f64(),
            "a stop would cut off its longest calls, which are then made again: see --stop-within"
        );
    }
    Patience { finish, give_back: GIVE_BACK_WITHIN }
}

#[cfg(feature = "aws")]
async fn aws(cli: &Cli, router: &Router, client: &Client, started: &Started) -> ExitCode {
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
    let patience = patience(cli, router);
    let (router, client, shared) = (router.clone(), client.clone(), started.clone());
    let mut workers = JoinSet::new();
    workers
        .spawn(async move { outbox_worker::aws::run(&config, &router, &client, &settings, &shared).await });
    outbox_runtime::until_stopped(workers, &outbox_runtime::Sources::default(), started, patience).await
}

#[cfg(not(feature = "aws"))]
async fn aws(_: &Cli, _: &Router, _: &Client, _: &Started) -> ExitCode {
    refuse("this worker was built without AWS", "build it with its default features")
}

fn contract(cli: &Cli, router: &Router) -> Result<Option<Contract>, ReadError> {
    if cli.proto.is_empty() {
        return Ok(None);
    }
    let events = Selection::new(&cli.events_packages, router.packages());
    Sources { protos: cli.proto.clone(), includes: Vec::new(), events }.read().map(Some)
}
