//! `relay migrate`: the outbox or the inbox of every database.

use std::io::Write;
use std::process::ExitCode;

use outbox_postgres::Source;
use outbox_relay::config::{Migrate, Strict};
use outbox_runtime::Chain;
use outbox_schema::{Migrated, inbox};

pub(crate) async fn migrate(sources: &[Source], how: &Migrate) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for source in sources {
        let name = source.name();
        let mut conn = match source.connect("outbox migrate", &[]).await {
            Ok(conn) => conn,
            Err(error) => {
                eprintln!("error: {name}: failed to connect: {}", Chain(&error));
                code = ExitCode::FAILURE;
                continue;
            }
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

const HINT: &str = "  to let other roles publish, relay, work or operate, and nothing more:
    select outbox.grant_to('ROLE', 'publisher');  -- or relay, worker, operator";

const INBOX_HINT: &str = "  to let a service's role use it, and nothing more:
    select outbox.inbox_grant_to('ROLE');
  once a day, until it returns false, to remove notes that are older than 35 days:
    select outbox.inbox_expire();";

/// The inbox's statements, as a migration of a service. The file is run with the search path that it is written for.
pub(crate) fn print_inbox() {
    say(&format!(
        "create schema if not exists outbox;\nset local search_path = pg_catalog, pg_temp; -- within one transaction\n\n{}",
        inbox::SQL.trim_end()
    ));
}

/// Ignores a closed pipe, as in `relay migrate | head -1`, so that the next database is migrated, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
