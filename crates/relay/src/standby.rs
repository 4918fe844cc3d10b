//! Standing by, until this relay leads.

use std::time::{Duration, Instant};

use outbox_postgres::Listening;
use outbox_postgres::leader::{self, Lead, Watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Progress;

const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// The new term, once this relay leads; `None` if it stops first. `led` is the last term that it led.
pub(crate) async fn stand_by(
    session: &Listening,
    name: &str,
    progress: &Progress,
    led: Option<i64>,
    stop: &CancellationToken,
) -> Result<Option<i64>, sqlx::Error> {
    let source = progress.source();
    let mut watch = Watch::new(Instant::now());
    let mut said = false;
    while !stop.is_cancelled() {
        let mut lent = session.lend().await?;
        let conn = lent.conn().await?;
        let seen = leader::look(conn).await?;
        let lead = watch.judge(&seen, Instant::now());
        let is_own = led == Some(seen.term);
        if is_own && seen.lives {
            // This relay gave that session up. A statement may still run in it, and it may have the doorbell's lock.
            leader::end_sessions(conn, &seen).await?;
        } else if lead == Lead::Hanging {
            let sessions = leader::end_sessions(conn, &seen).await?;
            tracing::warn!(source, relay = seen.relay, sessions, "the leader hangs: ended its sessions");
        }
        if (lead != Lead::Theirs || is_own)
            && let Some(term) = leader::take(conn, name, &seen).await?
        {
            lent.give_back();
            return Ok(Some(term));
        }
        lent.give_back();
        if !std::mem::replace(&mut said, true) {
            tracing::info!(source, relay = seen.relay, "standing by: another relay leads");
        }
        progress.moves();
        stop.run_until_cancelled(tokio::time::sleep(LOOKS_EVERY)).await;
    }
    Ok(None)
}
