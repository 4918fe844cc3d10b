//! One request for each of many things, where requests fail one by one.

use std::time::Duration;

use futures_util::future::join_all;

const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Asks for each item, and again for those that failed as long as some succeed: if every tenth request is throttled, a
/// hundred of them would never all succeed at once. An error only if nothing succeeds any more.
pub(crate) async fn each<T, R, E, F>(items: &[T], ask: impl Fn(T) -> F) -> Result<Vec<R>, E>
where
    T: Copy,
    F: Future<Output = Result<R, E>>,
{
    let mut answers: Vec<Option<R>> = items.iter().map(|_| None).collect();
    loop {
        let open: Vec<usize> = (0..items.len()).filter(|&at| answers[at].is_none()).collect();
        let asked = join_all(open.iter().map(|&at| ask(items[at]))).await;
        let (mut failure, mut some) = (None, false);
        for (at, answer) in open.into_iter().zip(asked) {
            match answer {
                Ok(answer) => {
                    answers[at] = Some(answer);
                    some = true;
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => return Ok(answers.into_iter().flatten().collect()),
            Some(error) if !some => return Err(error),
            Some(_) => tokio::time::sleep(AGAIN_AFTER.mul_f64(0.5 + fastrand::f64())).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Guards: requests that fail now and then all succeed in the end, each once, and answers come in order; a service that
    /// is away is an error at once.
    #[tokio::test(start_paused = true)]
    async fn what_failed_is_asked_again_as_long_as_something_succeeds() {
        let (asked, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let flaky = |n: usize| {
            let fails = asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
            if !fails {
                done.fetch_add(1, Ordering::Relaxed);
            }
            async move { if fails { Err("throttled") } else { Ok(n) } }
        };
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(each(&items, flaky).await, Ok(items.clone()));
        assert_eq!(done.load(Ordering::Relaxed), 100);
        assert_eq!(each(&items, |_| async { Err::<(), _>("away") }).await, Err("away"));
        assert_eq!(each(&[] as &[usize], |n| async move { Ok::<_, ()>(n) }).await, Ok(Vec::new()));
    }
}
