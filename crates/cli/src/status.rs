//! `outbox status`: is anything stuck, and where.

mod answer;
mod failing; // calls that all fail, and events that no RPC gets
mod forecast; // how far behind an RPC will be
mod lately; // the last five minutes of one RPC
#[cfg(feature = "console")]
mod links; // to the console
mod problems; // what needs an operator
mod processes; // relays and workers
mod repairs; // repairs that run
mod tables; // what a person reads
mod watch; // again and again
mod workers; // breakers and calls of the workers

use std::process::ExitCode;
use std::time::Duration;

use outbox_event_router::{Router, Rpc};
use outbox_postgres::operate::{Database, Outbox};
use outbox_transport::BrakeKind;
use outbox_transport::operate::{COUNTED_MAX, Count, Depth, Kept, Operator, SQS, SetAside};

use crate::brakes::Brakes;
use crate::colour::Colour;
use crate::dlq::rpc;
use crate::filter;
use crate::options::{Format, Options};
use crate::pace::interrupted;
use crate::running::{Running, differing};
use crate::show;
use crate::stopped::{Stopped, UNUSABLE};
use crate::transport::{self, Work};
use answer::{RpcStatus, SourceStatus, Status};
use forecast::Forecast;
use watch::Screen;
use workers::{Breaker, Workers};

/// Shows what is stuck, and the command that explains or repairs it.
///
/// For each database: which relay leads, how far it is behind, what the bus refused. For each RPC: what waits in its queue and
/// for how long, what is dead, and whether the workers hold it back because its server is down or an operator paused it. And which
/// relays and workers run, with which routes. After an outage the calls of an RPC begin with one, and double as they are answered.
///
/// Counts stop at 10,000, so that the answer comes within a second.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing is stuck; 1 something is, and the last lines say what to do; 2 unusable arguments; 3 a database or AWS can't be reached.\n\nIn a terminal beside you: outbox status --watch"
)]
pub(crate) struct Args {
    /// Where a worker serves /metrics: http://worker-1:9465. It is not needed: workers write their breakers and calls every few
    /// seconds to the database, or on aws to the dedup table. A worker that is named is asked for the values of this moment.
    /// Repeat for several; in the environment, separate them by spaces. By default a worker on this machine is asked, if there
    /// is one.
    #[arg(long = "worker", env = "OUTBOX_WORKERS", value_delimiter = ' ', value_name = "URL")]
    workers: Vec<String>,

    /// Of the RPCs show this one alone, with its last five minutes: rates, call times, answers, and how far behind it is in an
    /// hour. Times are bounds of a histogram. Only workers that still run are counted.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Look again and again, until Ctrl-C. On a terminal problems come first, and the exit status is that of the last look.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = watch::every)]
    watch: Option<Duration>,

    #[cfg(feature = "console")]
    #[command(flatten)]
    links: links::LinkArgs,

    #[command(flatten)]
    pub(crate) options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let Some(every) = args.watch else { return look(args, None).await };
    let mut screen = Screen::new(every, args.options.format);
    tokio::select! {
        ended = look_again(args, &mut screen) => ended?,
        () = interrupted() => {}
    }
    screen.ended().map(ExitCode::from)
}

/// Ends with unusable arguments, or when the reader is gone. After another failure everything is opened anew.
async fn look_again(args: &Args, screen: &mut Screen) -> Result<(), Stopped> {
    while screen.is_open() {
        match look(args, Some(screen)).await {
            Ok(_) => {}
            Err(stopped) if stopped.code() == UNUSABLE => return Err(stopped),
            Err(stopped) => {
                let error = Colour::paint(Some(Colour::Problem), "error:");
                screen.show(&format!("{error} {}\n  {}", stopped.problem, stopped.remedy), stopped.code())?;
                screen.wait().await;
            }
        }
    }
    Ok(())
}

async fn look(args: &Args, screen: Option<&mut Screen>) -> Result<ExitCode, Stopped> {
    let workers = Workers::parse(&args.workers)?;
    #[cfg(feature = "console")]
    let links = args.links.links()?;
    let router = args.options.router()?;
    let (mut databases, mut unreached) = (Vec::new(), Vec::new());
    for source in args.options.sources()? {
        match Database::open(&source).await {
            Ok(database) => databases.push(database),
            Err(error) => unreached.push(error.into()),
        }
    }
    // A database that is down must not hide problems of the others.
    if databases.is_empty()
        && let Some(first) = unreached.pop()
    {
        return Err(first);
    }
    let workers = workers.ask().await;
    let look = Look {
        args,
        router: router.as_ref(),
        databases: &databases,
        unreached,
        workers,
        #[cfg(feature = "console")]
        links,
        screen,
    };
    transport::work(&args.options, &databases, look).await
}

struct Look<'a> {
    args: &'a Args,
    router: Option<&'a Router>,
    databases: &'a [Database],
    unreached: Vec<Stopped>,
    workers: Workers,
    #[cfg(feature = "console")]
    links: Option<links::Links>,
    /// Where it looks again.
    screen: Option<&'a mut Screen>,
}

impl Work for Look<'_> {
    async fn on<O: Operator>(mut self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        loop {
            let (status, running) = self.ask(&transports).await?;
            let code = match (self.unreached.first(), status.problems.is_empty()) {
                (Some(stopped), _) => stopped.code(),
                (None, false) => 1,
                (None, true) => 0,
            };
            let (options, of_one) = (&self.args.options, self.args.rpc.is_some());
            let Some(screen) = &mut self.screen else {
                options.answer(&status, || tables::text(&status, &running, of_one, false))?;
                return Ok(ExitCode::from(code));
            };
            let text = match options.format {
                Format::Table => tables::text(&status, &running, of_one, screen.is_in_place()),
                Format::Json => show::to_json(&status),
            };
            screen.show(&text, code)?;
            screen.wait().await;
            // What was not reached is opened anew.
            if !screen.is_open() || !self.unreached.is_empty() {
                return Ok(ExitCode::from(code));
            }
            self.workers = Workers::parse(&self.args.workers)?.ask().await;
        }
    }
}

impl Look<'_> {
    async fn ask<O: Operator>(&self, transports: &[O]) -> Result<(Status, Running), Stopped> {
        filter::rpc(&self.args.options, transports, self.args.rpc.as_ref()).await?;
        let mut sources = Vec::new();
        for database in self.databases {
            sources.push(source(&Outbox::new(database.clone(), crate::terminal::say)).await?);
        }
        let listed: Vec<Rpc> =
            self.router.iter().flat_map(|router| router.rpcs()).map(|(rpc, _)| rpc.clone()).collect();
        let running = Running::ask(transports, self.databases).await?;
        let brakes = Brakes::ask(transports).await?;
        let (mut rpcs, mut undeliverable) = (Vec::new(), None);
        for transport in transports {
            let depths = transport.depths(&listed).await?;
            for depth in depths.into_iter().filter(|depth| self.shows(&depth.rpc)) {
                rpcs.push(self.rpc(transport.source(), depth, &running, &brakes));
            }
            undeliverable = transport.undeliverable().await?.or(undeliverable);
        }
        let mut status = Status {
            counted_max: COUNTED_MAX,
            sources,
            rpcs,
            processes: processes::with_states(&running),
            differing: differing(&running.0),
            undeliverable,
            problems: Vec::new(),
            notices: Vec::new(),
            console: None,
        };
        status.notices = problems::notices(&status, &self.args.options);
        status.notices.extend(repairs::notices(&kept(transports).await?, &self.args.options));
        status.problems = problems::of(&status, &self.args.options, &self.unreached, &self.workers);
        status.problems.extend(processes::problems(&running));
        #[cfg(feature = "console")]
        if let Some(links) = &self.links {
            links.add_to(&mut status);
        }
        Ok((status, running))
    }

    fn shows(&self, rpc: &str) -> bool {
        self.args.rpc.as_ref().is_none_or(|only| only.as_str() == rpc)
    }

    fn rpc(&self, source: &str, mut depth: Depth, running: &Running, brakes: &Brakes) -> RpcStatus {
        let serving = running.workers(source, &depth.rpc);
        if source == SQS {
            let asked = self.workers.oldest_seconds(source, &depth.rpc);
            depth.oldest_seconds = asked.or(serving.oldest_seconds);
            let mut aside = self.workers.set_aside(source, &depth.rpc);
            if aside.is_empty() {
                aside.clone_from(&serving.set_aside);
            }
            depth.set_aside = (!aside.is_empty()).then(|| SetAside {
                messages: Count::new(aside.values().sum()),
                reason: aside.into_keys().collect::<Vec<_>>().join(", "),
            });
        }
        let (breaker, calls) = self.workers.of(source, &depth.rpc);
        let breaker = breaker.max(serving.breaker.map(Breaker::from));
        let calls = calls.or_else(|| i64::try_from(serving.calls).ok().filter(|_| serving.workers > 0));
        let mut held = self.workers.held(source, &depth.rpc);
        held.extend(serving.held.iter().filter(|reason| !held.contains(reason)).cloned().collect::<Vec<_>>());
        let routed = self.router.map(|router| router.rpcs().any(|(rpc, _)| rpc.as_str() == depth.rpc));
        let [pause, limit] =
            [BrakeKind::Pause, BrakeKind::Limit].map(|kind| brakes.of(source, &depth.rpc, kind).cloned());
        let (source, forecast) = (source.to_owned(), Forecast::of(&depth, &serving));
        let console_url = None;
        RpcStatus {
            source,
            breaker,
            held,
            calls,
            pause,
            limit,
            serving,
            forecast,
            routed,
            depth,
            console_url,
        }
    }
}

/// The newest repairs. On AWS they lie in an item of each hour, and are too many requests for this.
async fn kept<O: Operator>(transports: &[O]) -> Result<Vec<Kept>, Stopped> {
    let mut kept = Vec::new();
    for transport in transports.iter().filter(|transport| transport.source() != SQS) {
        kept.extend(transport.kept(repairs::READ_MAX).await?);
    }
    Ok(kept)
}

async fn source(outbox: &Outbox) -> Result<SourceStatus, Stopped> {
    let cursor = outbox.cursor().await?;
    let (
        leader,
        backlog,
        parked,
        blind_role,
        transactions,
        outbox_bytes,
        sequences_behind,
        rings_stuck,
        unknown_events,
        known_events,
    ) = tokio::try_join!(
        outbox.leader(),
        outbox.backlog(&cursor, None),
        outbox.parked_count(),
        outbox.blind_role(),
        outbox.transactions(false, 1),
        outbox.bytes(),
        outbox.behind(),
        outbox.stuck_rings(),
        outbox.unknown_events(),
        outbox.known_events(),
    )?;
    // The migration writes a first cursor, and puts nothing.
    let put = (cursor.relay != "migration").then_some((cursor.at, cursor.relay));
    Ok(SourceStatus {
        source: outbox.source().to_owned(),
        leader,
        lag_seconds: backlog.as_ref().map(|backlog| backlog.lag_seconds),
        waiting_events: backlog.as_ref().map(|backlog| backlog.events),
        oldest_event: backlog.and_then(|backlog| backlog.oldest).map(|id| id.to_string()),
        put_at: put.as_ref().map(|put| put.0),
        put_by: put.map(|put| put.1),
        parked,
        sees_transactions: blind_role.is_none(),
        oldest_transaction: transactions.into_iter().next().filter(|_| blind_role.is_none()),
        blind_role,
        outbox_bytes,
        restored: !cursor.ours,
        sequences_behind,
        rings_stuck,
        unknown_events,
        known_events,
    })
}
