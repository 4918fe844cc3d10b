//! `outbox audit`: who repaired what, and when.

use std::process::ExitCode;

use serde::Serialize;
use sqlx::query_as;

use crate::options::{Format, Options};
use crate::print;
use crate::safe::line;
use crate::show::{self, NAME_CHARS_MAX, or_dash, table};
use crate::stopped::Stopped;
use crate::time::At;

const COMMAND_CHARS_MAX: usize = 100;

/// Lists repairs: who redrove, dropped, retried or replayed what, and when. Newest first; kept for 400 days.
///
/// They stand in outbox.audit of each database. What was repaired on AWS stands in the dedup table, in items whose id begins
/// with `audit `; ops/operations.md has the query.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 listed; 2 unusable arguments; 3 a database can't be reached.")]
pub(crate) struct Args {
    /// How many at most, of each database.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Serialize)]
struct Kept {
    source: String,
    at: At,
    who: String,
    role: String,
    command: String,
    /// As the command itself printed it with --format json; none if it did not live to tell.
    result: Option<serde_json::Value>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let mut kept = Vec::new();
    for database in args.options.outboxes().await? {
        let read =
            query_as("select at, who, role, command, result from outbox.audit order by at desc limit $1")
                .bind(i64::from(args.limit));
        let rows: Vec<(At, String, String, String, Option<String>)> = database.all(read).await?;
        kept.extend(rows.into_iter().map(|(at, who, role, command, result)| Kept {
            source: database.name().to_owned(),
            at,
            who,
            role,
            command,
            result: result.and_then(|result| serde_json::from_str(&result).ok()),
        }));
    }
    match args.format {
        Format::Json => show::json(&kept)?,
        Format::Table => print(&text(&kept))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(kept: &[Kept]) -> String {
    if kept.is_empty() {
        return "No repairs.".to_owned();
    }
    let mut rows = table(["AT", "WHO", "ROLE", "CHANGED", "COMMAND"]);
    for one in kept {
        // Each command has its own word for it.
        let changed = ["moved", "changed", "sent"]
            .iter()
            .find_map(|name| one.result.as_ref()?.get(name)?.as_i64().map(|count| count.to_string()));
        rows.add_row([
            show::moment_of(one.at),
            line(&one.who, NAME_CHARS_MAX),
            line(&one.role, NAME_CHARS_MAX),
            or_dash(changed),
            line(&one.command, COMMAND_CHARS_MAX),
        ]);
    }
    rows.trim_fmt()
}
