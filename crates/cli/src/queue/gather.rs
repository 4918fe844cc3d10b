//! Looks through a queue, page by page, up to a bound.

use outbox_transport::operate::{InQueue, LOOKED_AT_MAX, Look, Operator, Which, thousands};

use crate::pace::interrupted;
use crate::stopped::Stopped;

/// How far a look went.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) looked_at: usize,
    /// There may be more.
    pub(super) stopped: bool,
    pub(super) interrupted: bool,
}

impl Reach {
    pub(super) fn goes_on(&self) -> bool {
        !self.stopped && !self.interrupted
    }
}

/// Gives each message that is meant to `take`, until that returns `false`, or the bound is reached.
pub(super) async fn gather(
    transport: &impl Operator,
    look: &Look,
    which: &Which,
    reach: &mut Reach,
    mut take: impl FnMut(InQueue) -> bool,
) -> Result<(), Stopped> {
    let mut after = None;
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    while reach.goes_on() {
        if reach.looked_at >= LOOKED_AT_MAX {
            reach.stopped = true;
            break;
        }
        let page = tokio::select! {
            page = transport.look(look, after) => page?,
            () = &mut interrupted => {
                reach.interrupted = true;
                break;
            }
        };
        let Some(last) = page.last() else { break };
        after = Some(last.spot);
        reach.looked_at += page.len();
        for one in page.into_iter().filter(|one| which.fits(one)) {
            if !take(one) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Where the look stopped.
pub(super) fn bound(reach: &Reach) -> Option<String> {
    if reach.interrupted {
        return Some("interrupted: there may be more".to_owned());
    }
    let max = thousands(i64::try_from(LOOKED_AT_MAX).unwrap_or(i64::MAX));
    reach
        .stopped
        .then(|| format!("\nOnly {max} messages were looked at: there may be more (--rpc, --state)."))
}
