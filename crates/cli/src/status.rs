//! `outbox status`: is anything stuck, and where.

mod answer;
mod problems; // what needs an operator
mod processes; // relays and workers
mod workers; // breakers and calls of the workers

use std::process::ExitCode;

use outbox_event_router::{Router, Rpc};
use outbox_postgres::operate::{Database, Outbox};
use outbox_transport::BrakeKind;
use outbox_transport::operate::{At, COUNTED_MAX, Count, Depth, Operator, SQS, SetAside, Undeliverable};

use crate::brakes::Brakes;
use crate::options::Options;
use crate::running::Running;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, bytes, instant, moment_of, name_or, or_dash, table};
use crate::stopped::Stopped;
use crate::stuck;
use crate::transport::{self, Work};
use answer::{Problem, RpcStatus, SourceStatus, Status};
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
    after_help = "Exit status: 0 nothing is stuck; 1 something is, and the last lines say what to do; 2 unusable arguments; 3 a database or AWS can't be reached.\n\nIn a terminal beside you: watch outbox status"
)]
pub(crate) struct Args {
    /// Where a worker serves /metrics: http://worker-1:9465. It is not needed: workers write their breakers and calls every few
    /// seconds to the database, or on aws to the dedup table. A worker that is named is asked for the values of this moment.
    /// Repeat for several; in the environment, separate them by spaces. By default a worker on this machine is asked, if there
    /// is one.
    #[arg(long = "worker", env = "OUTBOX_WORKERS", value_delimiter = ' ', value_name = "URL")]
    workers: Vec<String>,

    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let workers = Workers::parse(&args.workers)?;
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
    let work = Look {
        args,
        router: router.as_ref(),
        databases: &databases,
        unreached,
        workers: workers.ask().await,
    };
    transport::work(&args.options, &databases, work).await
}

struct Look<'a> {
    args: &'a Args,
    router: Option<&'a Router>,
    databases: &'a [Database],
    unreached: Vec<Stopped>,
    workers: Workers,
}

impl Work for Look<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let mut sources = Vec::new();
        for database in self.databases {
            sources.push(source(&Outbox::new(database.clone(), crate::terminal::say)).await?);
        }
        let listed: Vec<Rpc> =
            self.router.iter().flat_map(|router| router.rpcs()).map(|(rpc, _)| rpc.clone()).collect();
        let running = Running::ask(&transports, self.databases).await?;
        let brakes = Brakes::ask(&transports).await?;
        let (mut rpcs, mut undeliverable) = (Vec::new(), None);
        for transport in &transports {
            for depth in transport.depths(&listed).await? {
                rpcs.push(self.rpc(transport.source(), depth, &running, &brakes));
            }
            undeliverable = transport.undeliverable().await?.or(undeliverable);
        }
        let mut status = Status {
            counted_max: COUNTED_MAX,
            sources,
            rpcs,
            processes: running.0.clone(),
            undeliverable,
            problems: Vec::new(),
            notices: Vec::new(),
        };
        status.notices = problems::notices(&status, &self.args.options);
        status.problems = problems::of(&status, &self.args.options, &self.unreached, &self.workers);
        status.problems.extend(processes::problems(&running));
        self.args.options.answer(&status, || text(&status, &running))?;
        Ok(ExitCode::from(match (self.unreached.first(), status.problems.is_empty()) {
            (Some(stopped), _) => stopped.code(),
            (None, false) => 1,
            (None, true) => 0,
        }))
    }
}

impl Look<'_> {
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
        RpcStatus { source: source.to_owned(), breaker, held, calls, pause, limit, serving, routed, depth }
    }
}

async fn source(outbox: &Outbox) -> Result<SourceStatus, Stopped> {
    let cursor = outbox.cursor().await?;
    let (leader, backlog, parked, blind_role, transactions, outbox_bytes, sequences_behind, rings_stuck) = tokio::try_join!(
        outbox.leader(),
        outbox.backlog(&cursor, None),
        outbox.parked_count(),
        outbox.blind_role(),
        outbox.transactions(false, 1),
        outbox.bytes(),
        outbox.behind(),
        outbox.stuck_rings(),
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
    })
}

fn text(status: &Status, running: &Running) -> String {
    let mut parts = Vec::new();
    for source in &status.sources {
        parts.push(of_source(source));
    }
    if status.sources.is_empty() {
        parts.push("No database given: the relay's half is not shown (set DATABASE_URL).".to_owned());
    }
    parts.push(of_rpcs(status));
    parts.extend(processes::text(running, status.sources.len() > 1));
    if !status.notices.is_empty() {
        parts.push(status.notices.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"));
    }
    let blind = status.sources.iter().any(|source| !source.sees_transactions);
    parts.push(match (status.problems.is_empty(), blind) {
        (true, false) => "Nothing is stuck.".to_owned(),
        (true, true) => "Nothing that this role sees is stuck.".to_owned(),
        (false, _) => status.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
    });
    parts.join("\n\n")
}

fn of_source(source: &SourceStatus) -> String {
    let leader = source.leader.as_ref().map_or_else(
        || "no relay leads".to_owned(),
        |leader| {
            let address =
                leader.address.as_deref().map(|address| format!(" from {address}")).unwrap_or_default();
            let since = leader
                .connected_at
                .and_then(At::known)
                .map(|at| format!(", since {}", instant(at)))
                .unwrap_or_default();
            format!("{}, pid {}{address}{since}", line(&leader.application, NAME_CHARS_MAX), leader.pid)
        },
    );
    let put = match (source.put_at, &source.put_by) {
        _ if source.restored => format!("{NOT_KNOWN}: the cursor is of another server"),
        (Some(at), Some(by)) => format!("{} by {}", moment_of(at), line(by, NAME_CHARS_MAX)),
        _ => "nothing yet".to_owned(),
    };
    let waiting = match source.waiting_events {
        None => NOT_KNOWN.to_owned(),
        Some(events) if events.is_zero() => "0".to_owned(),
        Some(events) => format!("{events}, the oldest for {}", age(source.lag_seconds.unwrap_or_default())),
    };
    let transaction = source.oldest_transaction.as_ref().map_or_else(
        || source.blind_role.as_deref().map_or_else(|| "none".to_owned(), stuck::not_visible),
        |transaction| {
            format!(
                "{}, pid {}, {}, {}{}",
                or_dash(transaction.age_seconds.map(age)),
                transaction.pid,
                name_or(Some(&transaction.application), "-"),
                transaction.state.as_deref().unwrap_or("state not visible to this role"),
                if transaction.writes { ", has written" } else { "" },
            )
        },
    );
    let mut rows = table(["SOURCE", &source.source]);
    rows.add_row(["leader", &leader]);
    rows.add_row(["waiting to be put", &waiting]);
    rows.add_row(["last put", &put]);
    rows.add_row(["parked", &source.parked.to_string()]);
    rows.add_row(["oldest transaction", &transaction]);
    rows.add_row(["outbox on disk", &bytes(source.outbox_bytes)]);
    rows.trim_fmt()
}

fn of_rpcs(status: &Status) -> String {
    if status.rpcs.is_empty() {
        return "No queue yet: relay and worker make them from event_router.yaml.".to_owned();
    }
    let several = status.sources.len() > 1;
    let mut rows = table([
        "RPC",
        "WAITING",
        "OLDEST",
        "IN WORK",
        "RETRYING",
        "DEAD",
        "BREAKER",
        "CALLS",
        if several { "SOURCE" } else { "" },
    ]);
    for rpc in &status.rpcs {
        let depth = &rpc.depth;
        let known = |text: String| if depth.missing.is_some() { "-".to_owned() } else { text };
        rows.add_row([
            line(&depth.rpc, NAME_CHARS_MAX),
            known(depth.waiting.to_string()),
            or_dash(depth.oldest_seconds.map(age)),
            known(depth.hidden.to_string()),
            known(depth.retrying.map_or_else(|| "?".to_owned(), |count| count.to_string())),
            known(depth.dead.to_string()),
            match &rpc.pause {
                Some(_) => "paused",
                None => rpc.breaker.map_or("?", Breaker::as_str),
            }
            .to_owned(),
            calls(rpc),
            if several { rpc.source.clone() } else { String::new() },
        ]);
    }
    let mut text = rows.trim_fmt();
    let unknown = status.rpcs.iter().any(|rpc| rpc.breaker.is_none() || rpc.calls.is_none());
    if unknown {
        text.push_str("\n? no running worker reports this RPC");
    }
    if status.rpcs.iter().any(|rpc| rpc.depth.retrying.is_none() && rpc.source == SQS) {
        text.push_str("\nIN WORK on SQS includes what waits for its next attempt; the age of the oldest is in CloudWatch.");
    }
    if let Some(Undeliverable { queue, messages }) = &status.undeliverable {
        text.push_str(&format!("\nundeliverable for EventBridge ({queue}): {messages}"));
    }
    text
}

/// `3 of 32`
fn calls(rpc: &RpcStatus) -> String {
    match rpc.calls {
        None => "?".to_owned(),
        Some(calls) if rpc.serving.calls_max == 0 => calls.to_string(),
        Some(calls) => format!("{calls} of {}", rpc.serving.calls_max),
    }
}
