//! What the database's role may do. The console can do no more for any viewer, so it offers no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use crate::access::Viewer;
use crate::ask::{Ask, Question, WHO, words};
use crate::asked::asked;

const EVERY: Duration = Duration::from_secs(60);
/// While it is not known.
const AGAIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So many refused tries a minute are written down. Who sends more fills no audit.
const REFUSED_MAX: u32 = 20;

#[derive(Debug, Default)]
pub(crate) struct Wall {
    role: Arc<Mutex<Known>>,
    /// Pages wait for the first question alone.
    first: OnceCell<()>,
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
    pub(crate) async fn limit(&self, viewer: Viewer, ask: &Arc<dyn Ask>) -> Viewer {
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

    /// As it was before, while it is asked again. The database refuses what the role has lost meanwhile.
    async fn role(&self, ask: &Arc<dyn Ask>) -> Option<Role> {
        self.first.get_or_init(|| look(Arc::clone(&self.role), Arc::clone(ask))).await;
        let mut known = lock(&self.role);
        if known.ask_at.is_none_or(|at| at <= Instant::now()) {
            // Others don't ask at the same time.
            known.ask_at = Some(Instant::now() + ANSWER_WITHIN + AGAIN);
            tokio::spawn(look(Arc::clone(&self.role), Arc::clone(ask)));
        }
        known.role
    }

    /// Writes down a try of what the viewer may not.
    pub(crate) async fn refused(&self, ask: &dyn Ask, who: &str, path: &str) {
        let many = {
            let mut refused = lock(&self.refused);
            let (since, many) = match *refused {
                Some((since, many)) if since.elapsed() < EVERY => (since, many),
                _ => (Instant::now(), 0),
            };
            *refused = Some((since, many.saturating_add(1)));
            many
        };
        if many < REFUSED_MAX {
            let words = vec!["refused".to_owned(), format!("--path={path}")];
            // It stands in the log, too, where the role can't write to the audit.
            let _ = ask.ask(Question { words, who: who.to_owned(), changes: true }).await;
        }
    }
}

async fn look(known: Arc<Mutex<Known>>, ask: Arc<dyn Ask>) {
    let answer = timeout(ANSWER_WITHIN, asked::<Role>(&*ask, WHO, words::role())).await;
    let fresh = answer.ok().and_then(Result::ok).map(|(role, _)| role);
    let mut known = lock(&known);
    known.ask_at = Some(Instant::now() + if fresh.is_some() { EVERY } else { AGAIN });
    known.role = fresh.or(known.role);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ask::{Answer, Answering};

    /// It answers the first `answered` questions, and then nothing.
    #[derive(Debug)]
    struct Slow {
        answered: usize,
        asked: AtomicUsize,
    }

    impl Ask for Slow {
        fn ask(&self, _: Question) -> Answering {
            if self.asked.fetch_add(1, Ordering::Relaxed) >= self.answered {
                return Box::pin(std::future::pending());
            }
            let json = serde_json::json!({"repairs": true, "sees_payloads": false});
            Box::pin(async move { Ok(Answer { json }) })
        }

        fn command(&self, _: &[String]) -> String {
            String::new()
        }
    }

    fn slow(answered: usize) -> (Arc<Slow>, Arc<dyn Ask>) {
        let slow = Arc::new(Slow { answered, asked: AtomicUsize::new(0) });
        (Arc::clone(&slow), slow)
    }

    fn operator() -> Viewer {
        Viewer { may_repair: true, ..Viewer::default() }
    }

    /// Guards promise 8: no page waits while the role is asked again, and the role is as it was.
    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_the_role_is_used_at_once() {
        let ((slow, ask), wall) = (slow(1), Wall::default());
        assert!(wall.limit(operator(), &ask).await.may_repair);
        tokio::time::advance(EVERY).await;
        for _ in 0..50 {
            let began = Instant::now();
            assert!(wall.limit(operator(), &ask).await.may_repair);
            assert_eq!(began.elapsed(), Duration::ZERO);
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.asked.load(Ordering::Relaxed), 2, "once for all of them");
    }

    /// Guards promise 8: while the database does not answer, the first page waits for it, and later ones do not.
    #[tokio::test(start_paused = true)]
    async fn only_the_first_page_waits_for_the_role() {
        let ((slow, ask), wall) = (slow(0), Wall::default());
        assert!(!wall.limit(operator(), &ask).await.may_repair);
        for _ in 0..50 {
            let began = Instant::now();
            assert!(!wall.limit(operator(), &ask).await.may_repair);
            assert_eq!(began.elapsed(), Duration::ZERO);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let asked = slow.asked.load(Ordering::Relaxed);
        assert!((4..=8).contains(&asked), "{asked}");
    }
}
