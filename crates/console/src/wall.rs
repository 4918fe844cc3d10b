//! What the database's role may do. The console can do no more for any viewer, so it offers no more.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::access::Viewer;
use crate::ask::{Ask, Question, words};
use crate::asked::asked;

const EVERY: Duration = Duration::from_secs(60);
/// While it is not known.
const AGAIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WHO: &str = "console";
/// So many refused tries a minute are written down. Who sends more fills no audit.
const REFUSED_MAX: u32 = 20;

#[derive(Debug, Default)]
pub(crate) struct Wall {
    role: Mutex<Known>,
    refused: Mutex<Option<(Instant, u32)>>,
}

#[derive(Debug, Default)]
struct Known {
    role: Option<Role>,
    ask_at: Option<Instant>,
}

/// What the role may in every database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct Role {
    repairs: bool,
    sees_payloads: bool,
}

impl Wall {
    /// The viewer's rights, as far as the role has them, too. While the role is not known, there are none.
    pub(crate) async fn limit(&self, viewer: Viewer, ask: &dyn Ask) -> Viewer {
        if !viewer.may_repair && !viewer.may_destroy && !viewer.may_see_payloads {
            return viewer;
        }
        let role = self.role(ask).await.unwrap_or_default();
        Viewer {
            may_repair: viewer.may_repair && role.repairs,
            may_destroy: viewer.may_destroy && role.repairs,
            // The audit keeps who looked, so a role that can't write there shows none.
            may_see_payloads: viewer.may_see_payloads && role.sees_payloads && role.repairs,
            ..viewer
        }
    }

    /// As it was before, while the database does not answer.
    async fn role(&self, ask: &dyn Ask) -> Option<Role> {
        let mut known = self.role.lock().await;
        if known.ask_at.is_none_or(|at| at <= Instant::now()) {
            let answer = timeout(ANSWER_WITHIN, asked::<Role>(ask, WHO, words::role())).await;
            let fresh = answer.ok().and_then(Result::ok).map(|(role, _)| role);
            known.ask_at = Some(Instant::now() + if fresh.is_some() { EVERY } else { AGAIN });
            known.role = fresh.or(known.role);
        }
        known.role
    }

    /// Writes down a try of what the viewer may not.
    pub(crate) async fn refused(&self, ask: &dyn Ask, who: &str, path: &str) {
        let mut refused = self.refused.lock().await;
        let (since, many) = match *refused {
            Some((since, many)) if since.elapsed() < EVERY => (since, many),
            _ => (Instant::now(), 0),
        };
        *refused = Some((since, many.saturating_add(1)));
        drop(refused);
        if many < REFUSED_MAX {
            let words = vec!["refused".to_owned(), format!("--path={path}")];
            // It stands in the log, too, where the role can't write to the audit.
            let _ = ask.ask(Question { words, who: who.to_owned(), changes: true }).await;
        }
    }
}
