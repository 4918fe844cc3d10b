//! Databases for one run: created on a server, and dropped at the end.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("failed to create or drop a database")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Schema(#[from] outbox_schema::SchemaError),
}

/// Creates an empty database on the server of this address. Returns the new database's address.
///
/// # Errors
///
/// The server can't be reached, or refuses.
pub async fn create(server: &str, name: &str) -> Result<String, DatabaseError> {
    execute(server, format!("create database {name}")).await?;
    Ok(beside(server, name))
}

/// Creates a database with the outbox's schema. Returns its address.
///
/// # Errors
///
/// The server can't be reached, or refuses.
pub async fn migrated(server: &str, name: &str) -> Result<String, DatabaseError> {
    let url = create(server, name).await?;
    outbox_schema::migrate(&mut PgConnection::connect(&url).await?).await?;
    Ok(url)
}

/// Drops a database, even one with open connections.
///
/// # Errors
///
/// The server can't be reached, or refuses.
pub async fn remove(server: &str, name: &str) -> Result<(), DatabaseError> {
    execute(server, format!("drop database if exists {name} with (force)")).await
}

async fn execute(server: &str, statement: String) -> Result<(), DatabaseError> {
    let mut admin = PgConnection::connect(server).await?;
    sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
    Ok(())
}

/// The address of another database on the same server, with the same parameters.
fn beside(address: &str, name: &str) -> String {
    let (path, parameters) = address.split_at(address.find('?').unwrap_or(address.len()));
    let server = path.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    format!("{server}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a database is created on the server of an address, with or without a database and parameters.
    #[test]
    fn only_the_database_of_an_address_changes() {
        for (address, expected) in [
            ("postgres://outbox@127.0.0.1:5/postgres", "postgres://outbox@127.0.0.1:5/new"),
            ("postgres://me:pass@host", "postgres://me:pass@host/new"),
            ("postgres://host/a?sslmode=require", "postgres://host/new?sslmode=require"),
        ] {
            assert_eq!(beside(address, "new"), expected);
        }
    }
}
