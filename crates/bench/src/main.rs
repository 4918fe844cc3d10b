//! Benchmarks. Every figure is a ratio of two things that were measured in turn, in one run. On a shared machine, absolute
//! figures mean little.

mod catch_up; // the rate over a backlog
mod database; // a throwaway server, and the events in it
mod dead_target; // the cost of a dead subscriber for the others
mod growth; // the rate as backlog and routes grow
mod held_snapshot; // the cost of an old snapshot
mod leftovers; // the cost of what other sessions left
mod line; // from commit to the handler, beside other queues in Postgres
mod long_writer; // the cost of an open transaction
mod memory; // peak memory
mod pairs; // measurements in turn: A B A B ...
mod picture; // the ratios as bars
mod plan; // durations and sizes
mod publish; // the cost of publishing for the publisher
mod publisher; // an open-loop load
mod put; // a backlog onto EventBridge
mod quiet_queues; // what idle workers request from AWS
mod record; // the cost of the dedup record
mod relaying; // a relay in this process
mod report; // results, for programs and for people
mod result; // why a benchmark failed
mod row; // one result and its target
mod stub; // AWS and RPCs that answer at once
mod wake; // from commit to put
mod worker_aws; // the rate over a queue on SQS

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::plan::Plan;
use crate::report::Report;
use crate::result::Result;
use crate::row::Row;

/// Measures what the README promises, beside the usual alternatives. It starts everything it needs, on loopback, and ends by
/// itself. Other programs should not run meanwhile.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// The benchmarks to run; without one, all of them.
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// Every row in under five minutes: shorter, smaller, with fewer pairs. It shows that the benchmarks work; its figures
    /// mean nothing.
    #[arg(long)]
    quick: bool,
    /// One JSON object per result and line instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write the table, the machine and the versions to this file, for example ops/benchmarks.md, and a picture of the
    /// ratios beside it.
    #[arg(long, value_name = "FILE")]
    write: Option<std::path::PathBuf>,
    /// Run as the worker's process of `line`, with a database and a router.
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
    /// What ten workers request from 300 empty queues on SQS, beside one worker.
    QuietQueues,
    /// What an old snapshot costs the relay.
    HeldSnapshot,
    /// What an open transaction costs other publishers.
    LongWriter,
    /// What a dead subscriber costs the others.
    DeadTarget,
    /// The most memory that relay and worker hold.
    Memory,
    /// What other sessions' leftovers cost: open transactions, old snapshots, old records, many subscribers.
    Leftovers,
    /// The relay's cost per event as backlog and routes grow.
    Growth,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    outbox_runtime::block_on(run(cli))
}

async fn run(cli: Cli) -> ExitCode {
    if let Some([source, router]) = cli.line_handler.as_deref() {
        return match line::handle(source, router.as_ref()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {}", outbox_runtime::Chain(&*error));
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
            eprintln!("error: {}: {}", bench.name(), outbox_runtime::Chain(&*error));
            code = ExitCode::FAILURE;
        }
        // Earlier results are kept when a benchmark fails.
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
            Bench::QuietQueues => quiet_queues::run(plan).await,
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
