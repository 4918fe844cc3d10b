mod migrate; // makes or prints the schema

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use outbox_event_router::Router;
use outbox_postgres::{PostgresBus, Source};
use outbox_relay::bus::Bus;
use outbox_relay::config::{Cli, Command, Migrate, Run};
use outbox_relay::relay::Settings;
use outbox_runtime::{Build, Finished, Patience, Sources, refuse};
use outbox_transport::RemoteBus;
use outbox_transport::args::{Transport, TransportArgs};
use tokio::task::JoinSet;

const BUILD: Build =
    Build { program: "relay", version: env!("CARGO_PKG_VERSION"), revision: outbox_revision::REVISION };
/// Counted from the signal; service managers usually allow ten seconds.
const PATIENCE: Patience = Patience { finish: Duration::from_secs(9), give_back: Duration::ZERO };

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.logs.init();
    outbox_runtime::block_on(async { start(cli).await.unwrap_or_else(|refused| refused) })
}

async fn start(cli: Cli) -> Result<ExitCode, ExitCode> {
    if let Some(Command::Migrate(Migrate { print: true, .. })) = &cli.command
        && !cli.transport.databases.is_given()
    {
        return Ok(migrate::print_all());
    }
    let sources = outbox_postgres::databases(&cli.transport.databases)
        .map_err(|(problem, remedy)| refuse(&problem, remedy))?;
    match cli.command {
        Some(Command::Migrate(Migrate { print: true, .. })) => Ok(migrate::print(&sources).await),
        Some(Command::Migrate(options)) => Ok(migrate::migrate(&sources, options.strict_names).await),
        None => run(sources, &cli.transport, &cli.run).await,
    }
}

async fn run(sources: Vec<Source>, on: &TransportArgs, options: &Run) -> Result<ExitCode, ExitCode> {
    match on.transport {
        Transport::Postgres => {
            let router = Router::read(on.router()).map_err(|error| {
                eprintln!("{error}");
                ExitCode::from(2)
            })?;
            relay_all(sources, options, None, move |source| {
                Bus::from(PostgresBus::new(source.name(), router.clone()))
            })
            .await
        }
        Transport::Aws => {
            let router = on.named_router().map(Router::read).transpose().map_err(|error| {
                eprintln!("{error}");
                ExitCode::from(2)
            })?;
            aws(sources, options, router).await
        }
    }
}

#[cfg(feature = "aws")]
async fn aws(sources: Vec<Source>, options: &Run, router: Option<Router>) -> Result<ExitCode, ExitCode> {
    /// If a request takes longer, it or its answer is lost.
    const PUT_WITHIN: Duration = Duration::from_secs(10);
    let config = outbox_aws::config(PUT_WITHIN).await;
    outbox_aws::say_what_is_missing(&config).await;
    let client = aws_sdk_eventbridge::Client::new(&config);
    let (bus, concurrency) = (options.bus.bus.clone(), options.put_concurrency as usize);
    relay_all(sources, options, router, move |source| {
        Bus::Remote(outbox_aws::EventBridge::new(client.clone(), &bus, source.name(), concurrency))
    })
    .await
}

#[cfg(not(feature = "aws"))]
async fn aws(_: Vec<Source>, _: &Run, _: Option<Router>) -> Result<ExitCode, ExitCode> {
    Err(refuse("this relay was built without AWS", "build it with its default features"))
}

async fn relay_all<R: RemoteBus + 'static>(
    sources: Vec<Source>,
    options: &Run,
    router: Option<Router>,
    bus: impl Fn(&Source) -> Bus<R>,
) -> Result<ExitCode, ExitCode> {
    let started = outbox_runtime::start(BUILD, options.metrics_addr).await?;
    let settings = Settings {
        name: outbox_runtime::process_name(),
        page_max: options.page_max as usize,
        retention: options.retention,
        fallback: options.fallback,
        tracer: started.tracer.clone(),
        router,
        address: started.address.clone(),
    };
    let names = sources.iter().map(|source| source.name().to_owned());
    let (standings, each) = Sources::of(&started.readiness, "relaying", names);
    let mut relays = JoinSet::new();
    for (source, standing) in sources.into_iter().zip(each) {
        let (bus, settings, stop) = (bus(&source), settings.clone(), started.stop.clone());
        relays.spawn(async move {
            outbox_relay::relay::run(source, bus, settings, standing, stop).await;
            Finished::All
        });
    }
    Ok(outbox_runtime::until_stopped(relays, &standings, &started, PATIENCE).await)
}
