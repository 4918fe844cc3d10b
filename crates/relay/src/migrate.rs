//! `relay migrate`: makes or prints the outbox or the inbox of every database.

use std::io::Write;
use std::process::ExitCode;

use outbox_postgres::Source;
use outbox_relay::config::{Migrate, Strict};
use outbox_runtime::Chain;
use outbox_schema::{Migrated, inbox};
use sqlx::PgConnection;

const HINT: &str = "  to let other roles publish, relay, work or operate, and nothing more:
    select outbox.grant_to('ROLE', 'publisher');  -- or relay, worker, operator, viewer";

const INBOX_HINT: &str = "  to let a service's role use it, and nothing more:
    select outbox.inbox_grant_to('ROLE');
  once a day, until it returns false, to remove notes that are older than 35 days:
    select outbox.inbox_expire();";

pub(crate) async fn migrate(sources: &[Source], how: &Migrate) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for source in sources {
        let name = source.name();
        let Some(mut conn) = connected(source).await else {
            code = ExitCode::FAILURE;
            continue;
        };
        let (what, hint, migrated) = if how.inbox {
            ("inbox", INBOX_HINT, inbox::migrate(&mut conn).await)
        } else {
            ("outbox schema", HINT, outbox_schema::migrate(&mut conn).await)
        };
        match migrated {
            Ok(Migrated { from, to }) if from == to => {
                say(&format!("{name}: the {what} is at version {to}: nothing to do"));
            }
            Ok(Migrated { from, to }) => {
                say(&format!("{name}: migrated the {what} from version {from} to {to}\n{hint}"));
            }
            Err(error) => {
                eprintln!("error: {name}: {}", Chain(&error));
                code = if error.is_transient() { ExitCode::FAILURE } else { ExitCode::from(3) };
                continue;
            }
        }
        if let Some(strict) = how.strict_names
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

/// The inbox's statements, as a migration of a service. The file is run with the search path that it is written for.
pub(crate) fn print_inbox() {
    say(&format!(
        "create schema if not exists outbox;\nset local search_path = pg_catalog, pg_temp; -- within one transaction\n\n{}",
        inbox::SQL.trim_end()
    ));
}

/// The whole schema, for a database that can't be asked.
pub(crate) fn print_all() {
    say(outbox_schema::script(0).trim_end());
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

/// Ignores a closed pipe, as in `relay migrate | head -1`, so that the next database is migrated, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
