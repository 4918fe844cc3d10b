//! `cargo xtask torture`: everything goes wrong for some minutes, on purpose, while services publish; then what arrived is
//! held against what was committed.

mod clocks;
mod cloud;
mod faults;
mod fleet;
mod history;
mod judge;
pub mod proxy;
mod publishers;
mod report;
mod routes;
mod rpcs;
mod second;
mod storm;
mod witness;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::process;
use history::{Complaint, History};
use judge::judge;
use publishers::{Ledger, Publisher, end_orphans};
use report::Report;
use storm::{Spells, rage};
use witness::Witness;
use world::World;

/// When nothing goes wrong any more, everything must have arrived by then: much longer than it takes.
const QUIET_WITHIN: Duration = Duration::from_secs(120);
/// A server notices within this time that a client of its is gone without a word.
const LEFT_BEHIND_FOR: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What carries the events: the database's own queues, or an emulator of AWS with what Terraform makes.
    #[arg(long, value_enum, default_value_t = Transport::Postgres)]
    pub transport: Transport,

    /// How long things go wrong. Then everything must arrive.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400), value_name = "N")]
    pub seconds: u64,

    /// What goes wrong when, and what is published, is drawn from it. Without it: any, which is said.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Print the result as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,

    /// Keep logs and history below target/torture even if nothing is wrong.
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Postgres,
    Aws,
}

/// Why a run could not be made.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// There is no emulator of AWS, no Terraform, or no provider for it.
#[derive(Debug, thiserror::Error)]
#[error("there is no emulator with what Terraform makes: {0}")]
pub struct NoCloud(Failure);

/// One run: its seed is settled.
#[derive(Debug, Clone, Copy)]
struct Run {
    transport: Transport,
    seconds: u64,
    seed: u64,
}

pub fn run(options: &Options) -> ExitCode {
    match torture(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `false` if a promise was broken.
///
/// # Errors
///
/// If it could not be tried: [`NoCloud`] among others. So is being interrupted.
pub fn torture(options: &Options) -> Result<bool, Failure> {
    let Options { transport, seconds, seed, json, keep } = *options;
    let run = Run { transport, seconds, seed: seed.unwrap_or_else(|| fastrand::u64(..1_000_000)) };
    println!("· building relay and worker");
    let bin = process::build(true)?;
    let logs = process::target().join("torture").join(run.seed.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(async {
        // What was started ends with the world, on every way out of here, Ctrl-C included.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            report = tried(&run, &bin, &logs) => report,
            _ = tokio::signal::ctrl_c() => Err("stopped".into()),
            _ = terminate.recv() => Err("stopped".into()),
        }
    })?;
    if keep || !report.holds() {
        println!("logs and history: {}", logs.display());
    } else {
        std::fs::remove_dir_all(&logs)?;
    }
    report.show();
    if json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(report.holds())
}

/// The run: a world, publishers, a storm; then calm, a look around, and the judge.
async fn tried(run: &Run, bin: &Path, logs: &PathBuf) -> Result<Report, Failure> {
    let _ = std::fs::remove_dir_all(logs);
    std::fs::create_dir_all(logs)?;
    println!(
        "· starting Postgres, relays, workers and RPC servers{}",
        match run.transport {
            Transport::Postgres => "",
            Transport::Aws => ", and an emulator of AWS with what Terraform makes",
        }
    );
    let world = Arc::new(World::start(run, bin, logs).await?);
    let (spells, witness, watched) = (Spells::default(), Witness::default(), CancellationToken::new());
    let history = {
        let witnessed = witness.watch(&world, &watched);
        let tried = async {
            let history = storm_and_calm(run, &world, &spells).await;
            watched.cancel();
            history
        };
        tokio::join!(tried, witnessed).0?
    };
    let history = History { cursor: witness.cursor(), ..history };
    let verdict = judge(&history);
    report::keep(logs, &world, &history, &verdict)?;
    Ok(Report::of(run, &history, verdict, witness.turns()))
}

async fn storm_and_calm(run: &Run, world: &Arc<World>, spells: &Spells) -> Result<History, Failure> {
    let length = Duration::from_secs(run.seconds);
    let plan = faults::plan(run.seed, length, run.transport);
    println!(
        "· {} faults in {} s on the transport {}, seed {}",
        plan.len(),
        run.seconds,
        run.transport.name(),
        run.seed
    );
    let stop = CancellationToken::new();
    let (held, holds) = watch::channel(false);
    let pace = run.transport.pace();
    let publisher = Publisher::new(world, holds, stop.clone(), pace)?;
    let publishing = publisher.clone().run(run.seed);
    let raging = async {
        rage(world, &publisher, plan, spells).await;
        tokio::time::sleep_until(world.clock.at(length)).await;
        stop.cancel();
    };
    tokio::select! {
        _ = async { tokio::join!(publishing, raging) } => {}
        () = Witness::hold(world, &held, pace.open_max) => {}
        () = progress(world, &world.ledger, spells) => {}
    }
    println!("· calm: everything that was committed must arrive");
    calm(run, world, &world.ledger, spells).await
}

async fn calm(run: &Run, world: &World, ledger: &Ledger, spells: &Spells) -> Result<History, Failure> {
    witness::publishers_have_ended(&world.pool).await?;
    end_orphans(&world.pool, ledger, world.clock, "0 seconds").await?;
    let committed = witness::committed(world).await?;
    let quiet = witness::quiet(world, &committed, QUIET_WITHIN).await;
    world.stop().await;
    let mut left = witness::left_behind(world).await?;
    let until = tokio::time::Instant::now() + LEFT_BEHIND_FOR;
    while !left.is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(250)).await;
        left = witness::left_behind(world).await?;
    }
    let mut complaints = [world.notes.complaints(), ledger.complaints()].concat();
    complaints.extend(quiet.err().map(|what| Complaint { kind: "not_quiet", what }));
    complaints.extend(left.into_iter().map(|what| Complaint { kind: "left_behind", what }));
    Ok(History {
        transport: run.transport,
        told: ledger.told(),
        committed,
        calls: world.rpcs.calls(),
        unheard: world.notes.unheard(),
        dead: witness::dead(world).await?,
        parked: witness::parked(world).await?,
        recorded: witness::recorded(world).await?,
        puts: witness::puts(world).await?,
        cursor: Vec::new(),
        spells: spells.list(),
        found: world.notes.found(),
        silent: ledger.silent(),
        prepared: ledger.prepared_so_far(),
        looks: world.notes.looks(),
        complaints,
    })
}

async fn progress(world: &World, ledger: &Ledger, spells: &Spells) {
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (events, arrived) = (ledger.events(), world.rpcs.arrived());
        let open = ledger.due().saturating_sub(arrived);
        println!(
            "  {:>4} s  {events:>7} events  {arrived:>7} deliveries  {open:>6} open  {:>4} faults",
            world.clock.now().as_secs(),
            spells.list().len()
        );
    }
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Transport::Postgres => "postgres",
            Transport::Aws => "aws",
        }
    }

    fn pace(self) -> Pace {
        match self {
            Transport::Postgres => Pace { open_max: 4000, bulk_max: 400, big_max: 200_000, heard_max: 200 },
            Transport::Aws => Pace { open_max: 300, bulk_max: 100, big_max: 100, heard_max: 100 },
        }
    }
}

/// How much may be published. The emulator is slow.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// So many deliveries may be open before publishers wait.
    open_max: usize,
    /// So many events has one transaction at most.
    bulk_max: usize,
    /// So many has a big one that commits, and of these so many have a subscriber.
    big_max: i64,
    heard_max: usize,
}
