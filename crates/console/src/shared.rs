//! One answer for all who ask the same. A request during a look gets that answer, or for a moment the one before.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout};

use crate::ask::Refusal;

/// An answer that is younger is shown again.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// And so many times what it took, so that looks are at most a tenth of a slow database's work.
const TIMES_TAKEN: u32 = 10;
/// An answer that takes longer is late: the older one is shown, and says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So long a page waits for a newer answer than the one it could show.
const SOON: Duration = Duration::from_millis(80);

/// An answer, and what it is worth.
#[derive(Debug, Clone)]
pub(crate) struct Seen<T> {
    pub(crate) value: T,
    /// When it was asked for.
    pub(crate) at: DateTime<Utc>,
    /// Why it is older than it should be.
    pub(crate) late: Option<Refusal>,
}

#[derive(Debug)]
pub(crate) struct Shared<T>(Arc<Looks<T>>);

#[derive(Debug)]
struct Looks<T> {
    state: std::sync::Mutex<State<T>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<T> {
    last: Option<Last<T>>,
    /// How often something was changed from here.
    changes: u64,
}

#[derive(Debug, Clone)]
struct Last<T> {
    answer: Result<Seen<T>, Refusal>,
    looked: Instant,
    /// Until the next look.
    wait: Duration,
    changes: u64,
}

impl<T> Last<T> {
    fn is_fresh(&self, changes: u64) -> bool {
        self.changes == changes && self.looked.elapsed() < self.wait
    }

    /// Good enough for a page that would else wait for the next answer. An answer of yesterday is not.
    fn will_do(&self, changes: u64) -> bool {
        self.changes == changes && self.answer.is_ok() && self.looked.elapsed() < 2 * self.wait
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        let state = State { last: None, changes: 0 };
        Self(Arc::new(Looks { state: std::sync::Mutex::new(state), asking: tokio::sync::Mutex::new(()) }))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + 'static> Shared<T> {
    /// For a page.
    pub(crate) async fn look<F>(&self, clock: fn() -> DateTime<Utc>, ask: F) -> Result<Seen<T>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        self.within(SOON, clock, ask).await
    }

    /// For an open page, which waits for the newest.
    pub(crate) async fn newest<F>(&self, clock: fn() -> DateTime<Utc>, ask: F) -> Result<Seen<T>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        self.within(2 * ANSWER_WITHIN, clock, ask).await
    }

    async fn within<F>(
        &self,
        soon: Duration,
        clock: fn() -> DateTime<Utc>,
        ask: F,
    ) -> Result<Seen<T>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let will_do = {
            let State { last, changes } = &*self.state();
            if let Some(last) = last.as_ref().filter(|last| last.is_fresh(*changes)) {
                return last.answer.clone();
            }
            last.as_ref().filter(|last| last.will_do(*changes)).map(|last| last.answer.clone())
        };
        // It goes on when the browser goes away, because others wait for it.
        let this = self.clone();
        let looks = tokio::spawn(async move { this.once(clock, ask).await });
        match will_do {
            Some(before) => timeout(soon, looks).await.ok().and_then(Result::ok).unwrap_or(before),
            None => looks.await.unwrap_or_else(|_| Err(late())),
        }
    }

    /// Asks now, and has the answer before only while the databases can't be reached.
    pub(crate) async fn anew<F>(&self, clock: fn() -> DateTime<Utc>, ask: F) -> Result<Seen<T>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let (at, changes) = (clock(), self.state().changes);
        let answer = ask.await;
        self.keep(at, answer, Duration::ZERO, changes)
    }

    async fn once<F>(&self, clock: fn() -> DateTime<Utc>, ask: F) -> Result<Seen<T>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let _one = self.0.asking.lock().await;
        let changes = {
            let State { last, changes } = &*self.state();
            if let Some(last) = last.as_ref().filter(|last| last.is_fresh(*changes)) {
                return last.answer.clone();
            }
            *changes
        };
        let (at, began) = (clock(), Instant::now());
        let answer = timeout(ANSWER_WITHIN, ask).await.unwrap_or_else(|_| Err(late()));
        let wait = if answer.is_ok() { EVERY.max(TIMES_TAKEN * began.elapsed()) } else { EVERY };
        self.keep(at, answer, wait, changes)
    }

    fn keep(
        &self,
        at: DateTime<Utc>,
        answer: Result<T, Refusal>,
        wait: Duration,
        changes: u64,
    ) -> Result<Seen<T>, Refusal> {
        let mut state = self.state();
        let before = state.last.take().and_then(|last| last.answer.ok());
        let answer = match (answer, before) {
            (Ok(value), _) => Ok(Seen { value, at, late: None }),
            (Err(why), Some(before)) if why.is_unreached() => Ok(Seen { late: Some(why), ..before }),
            (Err(why), _) => Err(why),
        };
        state.last = Some(Last { answer: answer.clone(), looked: Instant::now(), wait, changes });
        answer
    }

    /// Something was changed from here: what was seen before it is shown no more.
    pub(crate) fn changed(&self) {
        self.state().changes += 1;
    }

    /// What `size` says of the last value.
    pub(crate) fn size(&self, size: impl FnOnce(&T) -> usize) -> usize {
        let state = self.state();
        state.last.as_ref().and_then(|last| last.answer.as_ref().ok()).map_or(0, |seen| size(&seen.value))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> Refusal {
    Refusal {
        code: Refusal::UNREACHED,
        problem: format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        remedy: "the database answers slowly: see `outbox doctor`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Looking = Shared<usize>;

    fn clock() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    /// Each look takes so long, and answers how many there were.
    fn looks(
        many: &Arc<AtomicUsize>,
        takes: Duration,
    ) -> impl Future<Output = Result<usize, Refusal>> + Send + use<> {
        let many = Arc::clone(many);
        async move {
            tokio::time::sleep(takes).await;
            Ok(many.fetch_add(1, Ordering::Relaxed) + 1)
        }
    }

    /// Guards: with fifty viewers the database is asked as for one, a slow look is seldom repeated, and no later viewer waits for it.
    #[tokio::test(start_paused = true)]
    async fn many_viewers_are_one_look() {
        let (shared, many) = (Looking::default(), Arc::new(AtomicUsize::new(0)));
        let slow = Duration::from_millis(700);
        let all = (0..50).map(|_| shared.look(clock, looks(&many, slow)));
        let seen = futures_util::future::join_all(all).await;
        assert!(seen.into_iter().all(|seen| seen.unwrap().value == 1));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(shared.look(clock, looks(&many, slow)).await.unwrap().value, 1, "ten times what it took");
        tokio::time::advance(Duration::from_secs(2)).await;
        let began = Instant::now();
        assert_eq!(shared.look(clock, looks(&many, slow)).await.unwrap().value, 1, "the one before");
        assert!(began.elapsed() < slow);
        assert_eq!(shared.newest(clock, looks(&many, slow)).await.unwrap().value, 2, "the same look");
        shared.changed();
        assert_eq!(
            shared.look(clock, looks(&many, slow)).await.unwrap().value,
            3,
            "not what was before the change"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(shared.look(clock, looks(&many, slow)).await.unwrap().value, 4, "not what is old");
    }

    /// Guards promise 8: without its database a page has its last numbers, and says so. A mistake is said as it is.
    #[tokio::test(start_paused = true)]
    async fn what_was_seen_outlives_the_database() {
        let shared = Looking::default();
        let fails =
            |code| async move { Err(Refusal { code, problem: "no".to_owned(), remedy: String::new() }) };
        assert!(shared.anew(clock, fails(3)).await.is_err(), "nothing was seen");
        shared.anew(clock, async { Ok(7) }).await.unwrap();
        let seen = shared.anew(clock, fails(3)).await.unwrap();
        assert_eq!((seen.value, seen.late.map(|late| late.problem)), (7, Some("no".to_owned())));
        let late = shared.look(clock, std::future::pending()).await.unwrap();
        assert!(late.value == 7 && late.late.unwrap().problem.contains("within 5 s"));
        assert!(shared.anew(clock, fails(1)).await.is_err(), "it is no more");
        assert!(shared.anew(clock, fails(3)).await.is_err());
    }
}
