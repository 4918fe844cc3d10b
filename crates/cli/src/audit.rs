//! `outbox audit`: who repaired what, and when.

use std::process::ExitCode;

use outbox_postgres::operate::PostgresOperator;
use outbox_transport::args::Transport;
use outbox_transport::operate::{Audit, Kept};

use crate::options::Options;
use crate::safe::line;
use crate::show::{self, NAME_CHARS_MAX, or_dash, table};
use crate::stopped::Stopped;
use crate::transport;

const COMMAND_CHARS_MAX: usize = 100;

/// Lists repairs: who redrove, dropped, retried or replayed what, and when. Newest first; kept for 400 days.
///
/// They are in outbox.audit of each database. On the transport aws, repairs of queues and dead letters are in the dedup table,
/// and are listed first. A repair that has not ended still runs, or was killed. CHANGED is then the number of rows it has
/// changed so far, if that is known.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 listed; 2 unusable arguments; 3 a database can't be reached.")]
pub(crate) struct Args {
    /// How many at most, of each database and of AWS.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let mut kept = Vec::new();
    let databases = match args.options.transport() {
        Transport::Postgres => args.options.outboxes().await?,
        Transport::Aws => {
            kept.extend(transport::aws(&args.options, false).await?.kept(args.limit).await?);
            args.options.databases().await?
        }
    };
    for database in databases {
        kept.extend(PostgresOperator::new(database).kept(args.limit).await?);
    }
    args.options.answer(&kept, || text(&kept))?;
    Ok(ExitCode::SUCCESS)
}

fn text(kept: &[Kept]) -> String {
    if kept.is_empty() {
        return "No repairs.".to_owned();
    }
    let mut rows = table(["AT", "WHO", "ROLE", "CHANGED", "COMMAND"]);
    for one in kept {
        // Each command has its own name for it.
        let changed = ["moved", "changed", "sent"]
            .iter()
            .find_map(|name| one.result.as_ref()?.get(name)?.as_i64().map(|count| count.to_string()));
        rows.add_row([
            show::moment_of(one.at),
            line(&one.who, NAME_CHARS_MAX),
            or_dash(one.role.as_deref().map(|role| line(role, NAME_CHARS_MAX))),
            if one.ended { or_dash(changed) } else { format!("{}, not ended", or_dash(changed)) },
            line(&one.command, COMMAND_CHARS_MAX),
        ]);
    }
    rows.trim_fmt()
}
