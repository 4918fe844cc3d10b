//! The names of events that the leading relay knows, and those that it met and does not know.

use sqlx::{PgConnection, query};
use uuid::Uuid;

use crate::{Source, within};

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

/// Writes unknown names down, over a connection of its own: it happens seldom, and nothing waits for it.
pub async fn tell(source: &Source, met: &[Unknown]) -> Result<(), sqlx::Error> {
    let mut conn = source.connect("outbox relay (names)", &crate::SESSION).await?;
    let names: Vec<&str> = met.iter().map(|one| one.name.as_str()).collect();
    let events: Vec<i64> = met.iter().map(|one| one.events).collect();
    let last: Vec<Uuid> = met.iter().map(|one| one.last_event).collect();
    let tell = query("select outbox.tell_unknown($1, $2, $3)").bind(names).bind(events).bind(last);
    within(tell.execute(&mut conn)).await.map(|_| ())
}

/// Whether the database refuses an event whose name is not known. Only the schema's owner may say so.
pub async fn be_strict(conn: &mut PgConnection, strict: bool) -> Result<(), sqlx::Error> {
    query("select outbox.set_strict_names($1)").bind(strict).execute(conn).await.map(|_| ())
}
