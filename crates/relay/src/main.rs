use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use outbox_event_router::Router;
use outbox_postgres::{Budget, PostgresBus, Source};
use outbox_relay::bus::Bus;
use outbox_relay::config::{Cli, Command, Run};
use outbox_relay::relay::Settings;
use outbox_runtime::{Chain, Finished, Patience, Sources, Started, refuse};
use outbox_schema::Migrated;
use outbox_transport::RemoteBus;
use outbox_transport::args::{Transport, TransportArgs};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Counted from the signal; service managers usually allow ten seconds.
const PATIENCE: Patience = Patience { finish: Duration::from_secs(9), give_back: Duration::ZERO };

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.logs.init();
    outbox_runtime::block_on(async { start(cli).await.unwrap_or_else(|refused| refused) })
}

async fn start(cli: Cli) -> Result<ExitCode, ExitCode> {
    let sources = outbox_postgres::databases(&cli.transport.databases)
        .map_err(|(problem, remedy)| refuse(&problem, remedy))?;
    match cli.command {
        Some(Command::Migrate) => Ok(migrate(&sources).await),
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
            tokio::spawn(follow(started.clone(), on.router().to_owned(), newest));
            let bus = |source: &Source| Bus::from(PostgresBus::following(source.name(), routes.clone()));
            Ok(relay_all(sources, options, &started, bus).await)
        }
        Transport::Aws => aws(sources, options).await,
    }
}

#[cfg(feature = "aws")]
async fn aws(sources: Vec<Source>, options: &Run) -> Result<ExitCode, ExitCode> {
    /// If a request takes longer, it or its answer is lost.
    const PUT_WITHIN: Duration = Duration::from_secs(10);
    let config = outbox_aws::config(PUT_WITHIN).await;
    outbox_aws::say_what_is_missing(&config).await;
    let client = aws_sdk_eventbridge::Client::new(&config);
    let (bus, concurrency) = (options.bus.bus.clone(), options.put_concurrency as usize);
    let started = start_relay(options).await?;
    outbox_runtime::shows_router("relay", None, "");
    tokio::spawn(outbox_runtime::reload_nothing(started.clone()));
    let bus = |source: &Source| {
        Bus::Remote(outbox_aws::EventBridge::new(client.clone(), &bus, source.name(), concurrency))
    };
    Ok(relay_all(sources, options, &started, bus).await)
}

#[cfg(not(feature = "aws"))]
async fn aws(_: Vec<Source>, _: &Run) -> Result<ExitCode, ExitCode> {
    Err(refuse("this relay was built without AWS", "build it with its default features"))
}

async fn start_relay(options: &Run) -> Result<Started, ExitCode> {
    outbox_runtime::start("relay", env!("CARGO_PKG_VERSION"), options.metrics_addr).await
}

/// Hands over the routes of a new file after a SIGHUP. Leaders take them up before their next batch, standbys when they lead.
async fn follow(started: Started, file: PathBuf, newest: watch::Sender<Arc<Router>>) {
    outbox_runtime::shows_router("relay", None, &newest.borrow().digest());
    let read = move || Router::read(&file).map_err(|error| error.to_string());
    outbox_runtime::reload(started, read, |router| {
        let before = newest.send_replace(Arc::new(router)).digest();
        let now = newest.borrow().digest();
        if before == now {
            return "its routes and policies are the same".to_owned();
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
    bus: impl Fn(&Source) -> Bus<R>,
) -> ExitCode {
    let settings = Settings {
        name: outbox_runtime::process_name(),
        page_max: options.page_max as usize,
        retention: options.retention,
        fallback: options.fallback,
        tracer: started.tracer.clone(),
        address: started.address.clone(),
    };
    let names = sources.iter().map(|source| source.name().to_owned());
    let (standings, each) = Sources::of(&started.readiness, "relaying", names);
    let mut relays = JoinSet::new();
    // Its listeners and leaders are not in the budget: each database needs its own.
    let budget = Budget::of(options.connections as usize, 0);
    for (source, standing) in sources.into_iter().map(|source| source.within(&budget)).zip(each) {
        let (bus, settings, stop) = (bus(&source), settings.clone(), started.stop.clone());
        relays.spawn(async move {
            outbox_relay::relay::run(source, bus, settings, standing, stop).await;
            Finished::All
        });
    }
    outbox_runtime::until_stopped(relays, &standings, started, || PATIENCE).await
}

async fn migrate(sources: &[Source]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for source in sources {
        let name = source.name();
        let mut conn = match source.connect("outbox migrate", &[]).await {
            Ok(conn) => conn,
            Err(error) => {
                eprintln!("error: {name}: failed to connect: {}", Chain(&error));
                code = ExitCode::FAILURE;
                continue;
            }
        };
        match outbox_schema::migrate(&mut conn).await {
            Ok(Migrated { from, to }) if from == to => {
                say(&format!("{name}: the outbox schema is at version {to}: nothing to do"));
            }
            Ok(Migrated { from, to }) => {
                say(&format!(
                    "{name}: migrated the outbox schema from version {from} to {to}\n  \
                     to let other roles publish, relay, work or operate, and nothing more:\n    \
                     select outbox.grant_to('ROLE', 'publisher');  -- or relay, worker, operator"
                ));
            }
            Err(error) => {
                eprintln!("error: {name}: {}", Chain(&error));
                code = if error.is_transient() { ExitCode::FAILURE } else { ExitCode::from(3) };
            }
        }
    }
    code
}

/// Ignores a closed pipe, as in `relay migrate | head -1`, so that the next database is migrated, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
