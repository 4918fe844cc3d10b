//! `relay migrate`.

use std::io::Write;
use std::process::ExitCode;

use outbox_postgres::Source;
use outbox_relay::config::Strict;
use outbox_runtime::Chain;
use outbox_schema::Migrated;
use sqlx::PgConnection;

pub(crate) async fn migrate(sources: &[Source], strict_names: Option<Strict>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for source in sources {
        let name = source.name();
        let Some(mut conn) = connected(source).await else {
            code = ExitCode::FAILURE;
            continue;
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
                continue;
            }
        }
        if let Some(strict) = strict_names
            && let Err(error) = outbox_postgres::names::be_strict(&mut conn, strict == Strict::On).await
        {
            eprintln!(
                "error: {name}: failed to set --strict-names: {}\n  a transaction that publishes may have been open: try again",
                Chain(&error)
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Ignores a closed pipe, as in `relay migrate | head -1`, so that the next database is migrated, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The whole schema, for a database that can't be asked.
pub(crate) fn print_all() -> ExitCode {
    say(outbox_schema::script(0).trim_end());
    ExitCode::SUCCESS
}

/// What each database lacks. Comments say which database a part is for.
pub(crate) async fn print(sources: &[Source]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for source in sources {
        let name = source.name();
        let Some(mut conn) = connected(source).await else {
            code = ExitCode::FAILURE;
            continue;
        };
        match outbox_schema::version(&mut conn).await.map(|from| (from, outbox_schema::script(from))) {
            Ok((from, script)) if script.is_empty() => {
                say(&format!("-- {name}: the outbox schema is at version {from}: nothing to do"));
            }
            Ok((_, script)) => say(&format!("-- {name}\n{}", script.trim_end())),
            Err(error) => {
                eprintln!("error: {name}: failed to read the schema's version: {}", Chain(&error));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

async fn connected(source: &Source) -> Option<PgConnection> {
    match source.connect("outbox migrate", &[]).await {
        Ok(conn) => Some(conn),
        Err(error) => {
            eprintln!("error: {}: failed to connect: {}", source.name(), Chain(&error));
            None
        }
    }
}
