//! `outbox dev`: database, relay and worker in one command, for a developer's own repository.

mod example; // an `outbox send` to paste
mod pages; // the console
mod parts; // relay and worker, within this process
mod server; // a throwaway Postgres
mod show; // one line per event
mod to; // where the services are
mod watched; // the worker's calls, shown
mod wiring; // what the files say

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use outbox_postgres::Source;
use outbox_runtime::{Chain, Started};
use outbox_worker::rpc::{HeaderPrefix, ServiceEncoding};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::asked::Asked;
use crate::console;
use crate::dev_file::{self, Noted};
use crate::send::has_password;
use crate::show::counted;
use crate::stopped::Stopped;
use pages::{Pages, PagesArgs};
use parts::Parts;
use server::Server;
use show::Show;
use to::To;
use wiring::{Files, Seen, Wiring};

const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// Runs everything that your services need, on your laptop, and shows each event.
///
/// It makes a throwaway Postgres, or uses the database that is given, and migrates it. It relays your services' events and
/// calls your RPCs. When event_router.yaml or proto change, it reads them again. Services that do not run yet get their
/// events when they start. It prints the address of a console, with events, dead letters and their repair, for the browser that
/// opens it first. Ctrl-C ends all of it, and removes the throwaway Postgres with its data.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example: outbox dev --to NotificationService=http://localhost:8080\n\nExit status: 0 stopped as asked; 1 mistakes in event_router.yaml or proto; 2 unusable arguments, or no Postgres is installed; 3 the database can't be reached, or the throwaway one not be started."
)]
pub(crate) struct Args {
    /// Where a service is served: NotificationService=http://localhost:8080. An address without a service is that of all
    /// others. Repeat for several. The events of a service without an address wait.
    #[arg(long = "to", value_name = "[SERVICE=]URL", value_parser = clap::value_parser!(To))]
    to: Vec<To>,

    /// What a service is sent: json, proto or grpc, as for worker. LedgerService=grpc.
    #[arg(
        long = "encoding",
        env = "OUTBOX_ENCODINGS",
        value_delimiter = ' ',
        value_name = "SERVICE=ENCODING"
    )]
    encodings: Vec<ServiceEncoding>,

    /// Which headers of an event its RPCs get, as for worker: those whose names begin so.
    #[arg(
        long = "header-prefix",
        env = "OUTBOX_HEADER_PREFIX",
        value_delimiter = ' ',
        value_name = "PREFIX"
    )]
    header_prefixes: Vec<HeaderPrefix>,

    /// Which event runs which RPC.
    #[arg(long, default_value = "event_router.yaml", env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: PathBuf,

    /// A directory of .proto files, or a descriptor set. Repeat for several directories.
    #[arg(long, default_value = "proto", env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    /// A database of your own, instead of a throwaway one. Its schema `outbox` is made or upgraded.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,

    /// Show the payload of each event, too.
    #[arg(long)]
    payloads: bool,

    #[command(flatten)]
    pages: PagesArgs,
}

/// `answer` runs a command for a page of the console.
pub(crate) async fn run<F>(args: &Args, answer: F) -> Result<ExitCode, Stopped>
where
    F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
{
    let started = Started::default();
    stop_on_signals(&started)?;
    let show = Arc::new(Show::new(args.payloads));
    let files = args.files();
    let seen = files.look();
    let Ok(wiring) = files.read().map_err(|mistakes| show.problem(&mistakes)) else {
        return Ok(ExitCode::FAILURE);
    };
    let listener = args.pages.listen().await?;
    // Until it returns, a stop waits for nothing: what was begun ends with this process.
    let preparing = Database::prepare(args.database_url.as_deref());
    let Some(database) = started.stop.run_until_cancelled(preparing).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let database = database?;
    let mut parts = Parts::start(database.source.clone(), &wiring, Arc::clone(&show));
    let (pages, mut questions) = Pages::open(listener, &database.source, &files, &wiring);
    show.note(&introduction(&database, &wiring, pages.url()));
    tell_strays(&show, &wiring, &files);
    let watching = watch(&files, seen, (&mut parts, &pages), &show);
    let until_stopped = async {
        let working = async { tokio::join!(watching, console::answered(questions.as_mut(), answer)) };
        let _ = started.stop.run_until_cancelled(working).await;
        // A repair that runs notices Ctrl-C, too.
        if let Some(questions) = &mut questions {
            questions.end().await;
        }
    };
    // Commands run on this thread, because what they ask with can't move to another.
    LocalSet::new().run_until(until_stopped).await;
    parts.stop().await;
    let server_was_ours = database.server.is_some();
    // Dropping it waits for the server's end.
    let _ = tokio::task::spawn_blocking(move || drop(database)).await;
    show.note(if server_was_ours { "stopped, and removed the throwaway Postgres" } else { "stopped" });
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, the end of a service manager's unit, and the end of a terminal.
fn stop_on_signals(started: &Started) -> Result<(), Stopped> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signal = signal(kind).map_err(|error| {
            Stopped::failed(format!("can't listen for signals: {error}"), "start it in another shell")
        })?;
        let stop = started.stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

impl Args {
    fn files(&self) -> Files {
        Files {
            router: self.router.clone(),
            proto: self.proto.clone(),
            to: self.to.clone(),
            encodings: self.encodings.clone(),
            header_prefixes: self.header_prefixes.clone(),
        }
    }
}

/// The developer's database, with the schema, noted for other commands in this folder.
struct Database {
    /// Dropped first: other commands must not find a database that ends.
    _noted: Option<Noted>,
    source: Source,
    url: String,
    server: Option<Server>,
}

impl Database {
    async fn prepare(given: Option<&str>) -> Result<Self, Stopped> {
        let folder = dev_file::folder().unwrap_or_default();
        let server = match given {
            Some(_) => None,
            None => Some(started(tokio::task::spawn_blocking(move || Server::start(&folder)).await)?),
        };
        let url = match (&server, given) {
            (Some(server), _) => server.url(),
            (None, given) => given.unwrap_or_default().to_owned(),
        };
        let source: Source = url.parse().map_err(|error: outbox_postgres::SourceError| {
            Stopped::unusable(
                format!("--database-url (DATABASE_URL) names no database: {error}"),
                "write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            )
        })?;
        migrate(&source).await?;
        // Without the file, commands need DATABASE_URL.
        let noted = Noted::write(&url).ok();
        Ok(Self { _noted: noted, source, url, server })
    }
}

fn started(started: Result<Result<Server, Stopped>, tokio::task::JoinError>) -> Result<Server, Stopped> {
    started.unwrap_or_else(|error| {
        Err(Stopped::failed(format!("failed to start a throwaway Postgres: {error}"), "set DATABASE_URL"))
    })
}

async fn migrate(source: &Source) -> Result<(), Stopped> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Stopped::unreachable(
            format!("can't connect to the database: {error}"),
            "see DATABASE_URL, and whether Postgres is up there; without one, `outbox dev` makes its own",
        )
    };
    let mut conn = source.connect("outbox dev", &[]).await.map_err(|error| unreachable(&Chain(&error)))?;
    outbox_schema::migrate(&mut conn).await.map_err(|error| {
        Stopped::unreachable(
            format!("can't make the schema `outbox`: {}", Chain(&error)),
            "use another database, or none: `outbox dev` then makes its own",
        )
    })?;
    Ok(())
}

/// What a developer needs first. A password is never shown.
fn introduction(database: &Database, wiring: &Wiring, console: Option<&str>) -> String {
    let counts = counts(wiring);
    let shown = match &database.server {
        Some(_) => format!(
            "database  a throwaway Postgres; it ends with this command\n  services  export DATABASE_URL={}",
            database.url
        ),
        None if has_password(&database.url) => {
            format!("database  {}; services get the same DATABASE_URL", database.source.name())
        }
        None => format!("database  {}; services get the same DATABASE_URL", database.url),
    };
    let example = example::command(&wiring.contract, &wiring.router);
    let example = example.map(|example| format!("\n  try       {example}")).unwrap_or_default();
    let console = console.map(|url| format!("\n  console   {url} (for one browser)")).unwrap_or_default();
    format!("{counts}\n  {shown}{console}{example}")
}

fn counts(wiring: &Wiring) -> String {
    let (events, routes) = (wiring.router.events().count(), wiring.router.routes().count());
    format!("{}, {}", counted(events, "event"), counted(routes, "subscriber"))
}

/// Addresses of no service, and files that were passed over.
fn tell_strays(show: &Show, wiring: &Wiring, files: &Files) {
    for found in wiring.contract.passed_over() {
        show.note(&format!("{}: {}\n  {}", found.place, found.message, found.hint));
    }
    for (stray, meant) in to::strays(&wiring.services, &files.to) {
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        show.note(&format!("--to {stray}: event_router.yaml has no RPC of it{meant}"));
    }
}

/// Reads the files again when they change. A bad file is shown, and the old one stays in use.
async fn watch(files: &Files, mut seen: Seen, (parts, pages): (&mut Parts, &Pages), show: &Show) {
    let mut trouble = Vec::new();
    loop {
        tokio::time::sleep(LOOKS_EVERY).await;
        let halted: Vec<String> = parts.halted().into_iter().map(|halted| halted.reason).collect();
        for reason in halted.iter().filter(|reason| !trouble.contains(*reason)) {
            show.problem(&format!("the database: {reason}"));
        }
        trouble = halted;
        let now = files.look();
        if now == seen {
            continue;
        }
        seen = now;
        match files.read() {
            Ok(wiring) => {
                parts.replace(&wiring).await;
                pages.follow(files, &wiring);
                show.note(&format!("read again: {}", counts(&wiring)));
                tell_strays(show, &wiring, files);
            }
            Err(mistakes) => {
                show.problem(&format!("{mistakes}\n\nthe files before this change stay in use"));
            }
        }
    }
}
