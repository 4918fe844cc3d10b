//! `cargo xtask torture`: injects faults for some minutes while services publish, then compares what arrived with what was
//! committed.

mod clocks; // wrong clocks of processes
mod cloud; // the emulator of AWS, and its faults
mod database; // databases: created, migrated, queried again while they are down
mod domain; // the services' own tables
mod faults; // the faults of a run, drawn from the seed
mod fleet; // relays and workers, killed and started again
mod garbled; // rows that no bus can carry
mod history; // what happened, as plain data
mod how; // the ways in which services publish
mod judge; // the promises that a history breaks
mod ledger; // what publishers saw
mod publishers; // services that publish
mod report; // the result, for operators and for programs
mod routes; // events and RPCs of a run
mod rpcs; // the RPCs' servers
mod run; // the parameters of a run
mod second; // a second database, whose schema is removed
mod storm; // injects the faults, and ends them
mod witness; // observes the database and the processes
mod work; // one transaction of a publisher
mod world; // everything that a run starts

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use testkit::process;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use history::{Complaint, History};
use judge::judge;
use ledger::Ledger;
use publishers::Publisher;
use publishers::prepared::end_orphans;
use report::Report;
use run::{Failure, NoCloud, Run, Transport};
use storm::{Spells, rage};
use witness::Witness;
use world::World;

/// After the last fault everything must arrive within this time, which is much longer than it takes.
const QUIET_WITHIN: Duration = Duration::from_secs(120);
/// Within this time a server notices that a client has vanished.
const LEFT_BEHIND_FOR: Duration = Duration::from_secs(30);

/// Break everything for some minutes while services publish, and compare what arrived with what was committed. Real
/// processes are killed, stopped and cut off, the database crashes and is used by others, queues deliver twice, and AWS
/// fails.
///
/// Exits with 0 if every promise was kept. Exits with 1 if one was broken or the run was not possible, and with 3 without an
/// emulator of AWS or Terraform.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "cargo xtask torture", bin_name = "cargo xtask torture")]
struct Options {
    /// What carries the events: the database's own queues, or an emulator of AWS with Terraform's resources.
    #[arg(long, value_enum, default_value_t = Transport::Postgres)]
    transport: Transport,

    /// For how long faults are injected. Then everything must arrive.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400), value_name = "N")]
    seconds: u64,

    /// Determines faults and events. Without it a seed is drawn and printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Print the result as one JSON object on the last line.
    #[arg(long)]
    json: bool,

    /// Keep logs and history below target/torture even if nothing is wrong.
    #[arg(long)]
    keep: bool,
}

/// The exit code without an emulator of AWS. `cargo xtask test` may go on without it.
const NO_CLOUD: u8 = 3;

fn main() -> ExitCode {
    match torture(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            if error.is::<NoCloud>() { ExitCode::from(NO_CLOUD) } else { ExitCode::FAILURE }
        }
    }
}

/// Returns `false` if a promise was broken. An error says why the run was not possible, [`NoCloud`] among others, or that it
/// was interrupted.
fn torture(options: &Options) -> Result<bool, Failure> {
    let Options { transport, seconds, seed, json, keep } = *options;
    let run = Run { transport, seconds, seed: seed.unwrap_or_else(|| fastrand::u64(..1_000_000)) };
    println!("· building relay and worker");
    let bin = process::build(true)?;
    let logs = process::target().join("torture").join(run.seed.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(async {
        // Everything that was started ends with the world, on every way out of here, Ctrl-C included.
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

/// The run: a world, publishers, and faults; then the wait for everything, the observations, and the judge.
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
