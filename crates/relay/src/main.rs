mod migrate; // makes or prints the schema or the inbox

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use outbox_event_router::Router;
use outbox_postgres::{Budget, PostgresBus, Source};
use outbox_relay::bus::Bus;
use outbox_relay::config::{Cli, Command, Migrate, Run};
use outbox_relay::relay::Settings;
use outbox_runtime::{Build, Finished, Patience, Sources, Started, refuse};
use outbox_transport::RemoteBus;
use outbox_transport::args::{Transport, TransportArgs};
use tokio::sync::watch;
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
    if let Some(Command::Migrate(how @ Migrate { print: true, .. })) = &cli.command
        && (how.inbox || !cli.transport.databases.is_given())
    {
        if how.inbox {
            migrate::print_inbox();
        } else {
            migrate::print_all();
        }
        return Ok(ExitCode::SUCCESS);
    }
    let sources = outbox_postgres::databases(&cli.transport.databases)
        .map_err(|(problem, remedy)| refuse(&problem, remedy))?;
    match cli.command {
        Some(Command::Migrate(Migrate { print: true, .. })) => Ok(migrate::print(&sources).await),
        Some(Command::Migrate(how)) => Ok(migrate::migrate(&sources, &how).await),
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
            let (newest, routes) = watch::channel(Arc::new(router));
            let started = start_relay(options).await?;
            outbox_runtime::shows_router("relay", None, &routes.borrow().digest());
            tokio::spawn(follow(started.clone(), on.router().to_owned(), newest, true));
            let bus = |source: &Source| Bus::from(PostgresBus::following(source.name(), routes.clone()));
            Ok(relay_all(sources, options, &started, None, bus).await)
        }
        Transport::Aws => {
            let router = on.named_router().map(Router::read).transpose().map_err(|error| {
                eprintln!("{error}");
                ExitCode::from(2)
            })?;
            aws(sources, options, router, on.named_router().map(ToOwned::to_owned)).await
        }
    }
}

#[cfg(feature = "aws")]
async fn aws(
    sources: Vec<Source>,
    options: &Run,
    router: Option<Router>,
    file: Option<PathBuf>,
) -> Result<ExitCode, ExitCode> {
    /// If a request takes longer, it or its answer is lost.
    const PUT_WITHIN: Duration = Duration::from_secs(10);
    let config = outbox_aws::config(PUT_WITHIN).await;
    outbox_aws::say_what_is_missing(&config).await;
    let client = aws_sdk_eventbridge::Client::new(&config);
    let (bus, concurrency) = (options.bus.bus.clone(), options.put_concurrency as usize);
    let started = start_relay(options).await?;
    outbox_runtime::shows_router("relay", None, "");
    let router = match (router, file) {
        (Some(router), Some(file)) => {
            let (newest, names) = watch::channel(Arc::new(router));
            tokio::spawn(follow(started.clone(), file, newest, false));
            Some(names)
        }
        _ => {
            tokio::spawn(outbox_runtime::reload_nothing(started.clone()));
            None
        }
    };
    let bus = |source: &Source| {
        Bus::Remote(outbox_aws::EventBridge::new(client.clone(), &bus, source.name(), concurrency))
    };
    Ok(relay_all(sources, options, &started, router, bus).await)
}

#[cfg(not(feature = "aws"))]
async fn aws(_: Vec<Source>, _: &Run, _: Option<Router>, _: Option<PathBuf>) -> Result<ExitCode, ExitCode> {
    Err(refuse("this relay was built without AWS", "build it with its default features"))
}

async fn start_relay(options: &Run) -> Result<Started, ExitCode> {
    outbox_runtime::start(BUILD, options.metrics_addr).await
}

/// Hands over a new file after a SIGHUP. On a remote bus it has no routes, and only the names of events count. Leaders take them up before their next batch, standbys when they lead.
async fn follow(started: Started, file: PathBuf, newest: watch::Sender<Arc<Router>>, routes: bool) {
    let read = move || Router::read(&file).map_err(|error| error.to_string());
    outbox_runtime::reload(started, read, |router| {
        let before = newest.send_replace(Arc::new(router)).digest();
        let now = newest.borrow().digest();
        if before == now {
            return "its routes and policies are the same".to_owned();
        }
        if !routes {
            return format!("its names of events, {now} instead of {before}");
        }
        outbox_runtime::shows_router("relay", Some(&before), &now);
        format!("the next batch is routed by it, {now} instead of {before}")
    })
    .await;
}

async fn relay_all<R: RemoteBus + 'static>(
    sources: Vec<Source>,
    options: &Run,
    started: &Started,
    router: Option<watch::Receiver<Arc<Router>>>,
    bus: impl Fn(&Source) -> Bus<R>,
) -> ExitCode {
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
    let given = options.connections.map(|connections| connections as usize);
    let connections = given.unwrap_or_else(|| outbox_postgres::relay_connections(sources.len()));
    let budget = Budget::beside_leads(connections, sources.len());
    for (source, standing) in sources.into_iter().map(|source| source.within(&budget)).zip(each) {
        let (bus, settings, stop) = (bus(&source), settings.clone(), started.stop.clone());
        relays.spawn(async move {
            outbox_relay::relay::run(source, bus, settings, standing, stop).await;
            Finished::All
        });
    }
    outbox_runtime::until_stopped(relays, &standings, started, || PATIENCE).await
}
