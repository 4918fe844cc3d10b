//! How fast, beside what. Every figure is a ratio of two things measured in turn, in one run: on a machine that others
//! share, absolute figures mean little.

mod catch_up; // how fast a backlog is read
mod database; // a throwaway server, and what is published there
mod dead_target; // what a dead subscriber costs the others
mod growth; // does it get slower as it gets more
mod held_snapshot; // what an old snapshot costs
mod leftovers; // what others left lying costs
mod line; // from commit to the handler, beside other queues in Postgres
mod long_writer; // what an open transaction costs
mod memory; // how much is held
mod pairs; // A B A B ...
mod plan; // how long, how many
mod publish; // what publishing costs the publisher
mod publisher; // an open-loop load
mod put; // a backlog onto EventBridge
mod record; // what the dedup record costs
mod relaying; // a relay within this process
mod report; // rows for programs and for people
mod result; // why something was not measured
mod stub; // AWS and RPCs that answer at once
mod wake; // from commit to put
mod worker_aws; // a queue on SQS worked off

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::plan::Plan;
use crate::report::{Report, Row};
use crate::result::Result;

/// Measures what the README promises, beside what people would use instead. It starts what it needs, on loopback, and ends by
/// itself. Nothing else should run meanwhile.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Which; all of them if none is named.
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// Every row in under five minutes: shorter, smaller, fewer pairs. For seeing that it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// One JSON object per result and line instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write the table, the machine and the versions to this file, for example ops/benchmarks.md.
    #[arg(long, value_name = "FILE")]
    write: Option<std::path::PathBuf>,
    /// Be the worker's process of `line`: a database and a router.
    #[arg(long, hide = true, num_args = 2, value_names = ["SOURCE", "ROUTER"])]
    line_handler: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Bench {
    /// What publishing costs the publisher's transaction.
    Publish,
    /// A relay that catches up, beside a SELECT of the same rows and beside PgQ.
    CatchUp,
    /// A backlog onto EventBridge, beside the AWS SDK alone.
    Put,
    /// From COMMIT to the bus, beside a NOTIFY.
    Wake,
    /// From COMMIT to the handler on the postgres transport, beside graphile-worker and pg-boss.
    Line,
    /// The dedup record of a batch, beside a row for each delivery.
    Record,
    /// A queue on SQS worked off, beside the AWS SDK alone.
    WorkerAws,
    /// What an old snapshot costs the relay.
    HeldSnapshot,
    /// What an open transaction costs everybody else.
    LongWriter,
    /// What a dead subscriber costs the others.
    DeadTarget,
    /// The most memory that relay and worker hold.
    Memory,
    /// What others left lying costs: open transactions, old snapshots, old records, many subscribers.
    Leftovers,
    /// The relay's cost per event as backlog and routes grow.
    Growth,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    runtime::block_on(run(cli))
}

async fn run(cli: Cli) -> ExitCode {
    if let Some([source, router]) = cli.line_handler.as_deref() {
        return match line::handle(source, router.as_ref()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {}", runtime::Chain(&*error));
                ExitCode::FAILURE
            }
        };
    }
    if let Some(Err(error)) = cli.write.as_deref().map(Report::fits) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let plan = Plan::new(cli.quick);
    let mut report = Report::new(cli.json);
    let benches = if cli.benches.is_empty() { Bench::value_variants() } else { &cli.benches };
    let mut code = ExitCode::SUCCESS;
    for bench in benches {
        report.begins(&bench.name());
        let mut rows = Vec::new();
        if let Err(error) = bench.run(&plan, &mut rows).await {
            eprintln!("error: {}: {}", bench.name(), runtime::Chain(&*error));
            code = ExitCode::FAILURE;
        }
        // What was measured before something failed was measured all the same.
        rows.into_iter().for_each(|row| report.add(row));
    }
    if let Err(error) = report.end(&plan, cli.write.as_deref()) {
        eprintln!("error: {error}");
        code = ExitCode::FAILURE;
    }
    code
}

impl Bench {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    async fn run(self, plan: &Plan, rows: &mut Vec<Row>) -> Result<()> {
        let measured = match self {
            Bench::Publish => publish::run(plan).await,
            Bench::CatchUp => catch_up::run(plan).await,
            Bench::Put => put::run(plan).await,
            Bench::Wake => wake::run(plan).await,
            Bench::Line => line::run(plan).await,
            Bench::Record => record::run(plan).await,
            Bench::WorkerAws => worker_aws::run(plan).await,
            Bench::HeldSnapshot => held_snapshot::run(plan).await,
            Bench::LongWriter => long_writer::run(plan).await,
            Bench::DeadTarget => dead_target::run(plan).await,
            Bench::Memory => memory::run(plan).await,
            Bench::Leftovers => return leftovers::run(plan, rows).await,
            Bench::Growth => growth::run(plan).await,
        };
        rows.extend(measured?);
        Ok(())
    }
}
