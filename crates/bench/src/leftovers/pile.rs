//! Millions of small events.

use sqlx::PgConnection;

use crate::database::EVENT;
use crate::result::Result;

/// Writes small events past `enqueue`, which would take minutes for millions, in the connection's transaction if there is
/// one.
pub(super) async fn pile(conn: &mut PgConnection, events: usize) -> Result<()> {
    let mut left = events;
    while left > 0 {
        let part = left.min(100_000);
        sqlx::query(
            "insert into outbox.event (id, name, payload, slot)
             select gen_random_uuid(), $2, $3, (select last_value from outbox.event_slot) from generate_series(1, $1::integer)",
        )
        .bind(i32::try_from(part)?)
        .bind(EVENT)
        .bind(format!(r#"{{"note":"{}"}}"#, "x".repeat(80)))
        .execute(&mut *conn)
        .await?;
        left -= part;
    }
    Ok(())
}
