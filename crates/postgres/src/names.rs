//! The names of events that the leading relay knows, and those that it met and does not know.

use std::time::Duration;

use sqlx::{PgConnection, query};
use uuid::Uuid;

use crate::beside::{Beside, Statements};
use crate::within;

const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// What a relay met of one unknown name since it last wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    pub events: i64,
    pub last_event: Uuid,
}

/// Makes the known names these. Without a difference it writes nothing.
pub async fn know(conn: &mut PgConnection, names: &[&str]) -> Result<(), sqlx::Error> {
    within(query("select outbox.know_events($1)").bind(names).execute(conn)).await.map(|_| ())
}

/// As [`know`], beside the leader.
pub async fn know_beside(beside: &Beside, names: &[&str]) -> Result<(), sqlx::Error> {
    beside.run(TOLD_WITHIN, &Known(names)).await
}

/// Writes unknown names down.
pub async fn tell(beside: &Beside, met: &[Unknown]) -> Result<(), sqlx::Error> {
    beside.run(TOLD_WITHIN, &Met(met)).await
}

struct Known<'a>(&'a [&'a str]);

impl Statements for Known<'_> {
    type Answer = ();

    async fn run(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        know(conn, self.0).await
    }
}

struct Met<'a>(&'a [Unknown]);

impl Statements for Met<'_> {
    type Answer = ();

    async fn run(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = self.0.iter().map(|one| one.name.as_str()).collect();
        let events: Vec<i64> = self.0.iter().map(|one| one.events).collect();
        let last: Vec<Uuid> = self.0.iter().map(|one| one.last_event).collect();
        let tell = query("select outbox.tell_unknown($1, $2, $3)").bind(names).bind(events).bind(last);
        tell.execute(conn).await.map(|_| ())
    }
}

/// Whether the database refuses an event whose name is not known. Only the schema's owner may say so.
pub async fn be_strict(conn: &mut PgConnection, strict: bool) -> Result<(), sqlx::Error> {
    query("select outbox.set_strict_names($1)").bind(strict).execute(conn).await.map(|_| ())
}
