//! A panic ends the task that panicked, and no other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Part;

/// A bug rarely disappears within a second, and each try may repeat a call.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// The message of a panic, without the values that it may quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(String);

/// Runs work that may panic. After a panic, what it borrowed must be made anew and never read.
///
/// # Errors
///
/// If the work panicked.
pub async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(Panicked::of(&*panic))),
    })
    .await
}

/// As [`caught`], in a task of its own. The task starts now, and ends when the returned future is dropped.
pub fn apart<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Panicked>> {
    let mut task = JoinSet::new();
    task.spawn(work);
    async move {
        let ended = task.join_next().await.expect("one task was spawned");
        ended.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Panicked::of(&*panic),
            Err(error) => Panicked(error.to_string()),
        })
    }
}

/// Runs a part of the process until it ends. A panic is logged and shown by `/readyz`, and the part starts again after a pause.
/// `None` if the part panicked and `stop` prevents the next start.
pub async fn again<T, F>(
    what: &str,
    part: &Part,
    stop: &CancellationToken,
    mut run: impl FnMut() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, Panicked>>,
{
    let mut wait = AGAIN_AFTER_MIN;
    loop {
        let panicked = match caught(run()).await {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(panicked)) | Err(panicked) => panicked,
        };
        tracing::error!(part = what, error = %panicked, retry_in_seconds = wait.as_secs_f64(), "this is a bug: beginning again");
        part.fails(format!("{panicked}; this is a bug, and the log says where"));
        stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        wait = (wait * 2).min(AGAIN_AFTER_MAX);
    }
}

impl Panicked {
    fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self(without_values(text.unwrap_or("without a message")))
    }
}

/// A panic's message may quote a payload, so it is cut at its first quote.
pub(crate) fn without_values(message: &str) -> String {
    let shown = message.split(['`', '"', '\'']).next().unwrap_or_default().trim_end();
    let cut = if shown.len() == message.len() { "" } else { " …" };
    shown.chars().take(200).collect::<String>() + cut
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: a panic becomes an error that says what panicked, in the same task and in one of its own.
    #[tokio::test]
    async fn a_panic_is_an_error() {
        let index = std::hint::black_box(3);
        assert_eq!(caught(async { 7 }).await, Ok(7));
        assert_eq!(apart(async { 7 }).await, Ok(7));
        let here = caught(async { [0; 3][index] }).await.unwrap_err();
        let there = apart(async move { [0; 3][index] }).await.unwrap_err();
        assert!(here.to_string().starts_with("it panicked: index out of bounds"), "{here}");
        assert_eq!(here, there);
    }

    /// Guards SECURITY.md: a panic's message shows no value that it quotes.
    #[test]
    fn a_panic_tells_no_payload() {
        for (message, shown) in [
            (
                "index out of bounds: the len is 3 but the index is 3",
                "index out of bounds: the len is 3 but the index is 3",
            ),
            (
                "byte index 1 is not a char boundary; it is inside 'é' of `secret-7`",
                "byte index 1 is not a char boundary; it is inside …",
            ),
            (r#"no card: Error("secret-7", line: 1)"#, "no card: Error( …"),
            ("called `Option::unwrap()` on a `None` value", "called …"),
        ] {
            assert_eq!(without_values(message), shown);
        }
    }

    /// Guards promise 7: a task ends when the future that waits for it is dropped.
    #[tokio::test]
    async fn a_task_ends_when_it_is_not_waited_for() {
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let waiting = apart(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(waiting);
        assert_eq!(ended.recv().await, None);
    }

    /// Guards promise 6: a part that panics starts again with growing pauses, is not ready meanwhile, and obeys a stop.
    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_again() {
        let (readiness, stop) = (crate::Readiness::default(), CancellationToken::new());
        let part = readiness.part("lane");
        let (mut times, began) = (0, tokio::time::Instant::now());
        let done = again("lane", &part, &stop, || {
            times += 1;
            let nth = times;
            async move {
                match nth {
                    1 => panic!("what a bug"),
                    2 => Err(Panicked("in a task of its own".to_owned())),
                    _ => Ok(nth),
                }
            }
        });
        assert_eq!(done.await, Some(3));
        assert_eq!(began.elapsed(), AGAIN_AFTER_MIN * 3);
        let told = readiness.problems(std::time::Instant::now()).join("\n");
        assert!(told.contains("lane: it panicked: in a task of its own"), "{told}");
        stop.cancel();
        let never = || async { panic!("again") };
        assert_eq!(again::<(), _>("lane", &part, &stop, never).await, None);
    }
}
