//! The ring of failed attempts and repairs turns by time and by size.

use outbox_transport::DEDUP_WINDOW;
use sqlx::PgConnection;

use crate::interval;

/// All slots together. The rows of a round are added to that.
const BYTES_MAX: i64 = 1 << 30;

/// One step: turns, or truncates a slot. Rows are kept as long as dedup records are.
pub(super) async fn turn(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let turn = sqlx::query("select outbox.turn_history($1, $2)").bind(interval(DEDUP_WINDOW)).bind(BYTES_MAX);
    turn.execute(conn).await.map(|_| ())
}
