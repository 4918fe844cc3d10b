//! A panic is the trouble of the task that panicked, and of nobody else.

use std::any::Any;

use tokio::task::JoinSet;

/// What a task said when it panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(String);

/// Runs something as a task of its own. It ends when this future is dropped.
///
/// # Errors
///
/// If it panicked.
pub async fn caught<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Panicked> {
    let mut task = JoinSet::new();
    task.spawn(work);
    let ended = task.join_next().await.expect("one task was spawned");
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => Panicked(said(&*panic)),
        Err(error) => Panicked(error.to_string()),
    })
}

#[cfg(test)]
impl Panicked {
    pub(crate) fn of(said: &str) -> Self {
        Self(said.to_owned())
    }
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: a panic becomes an error that says what panicked, and a task ends with whoever waits for it.
    #[tokio::test]
    async fn a_panic_is_an_error() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let index = std::hint::black_box(3);
        let out = caught(async move { [0; 3][index] }).await.unwrap_err().to_string();
        assert!(out.starts_with("it panicked: index out of bounds"), "{out}");

        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let waiting = caught(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        let gave_up = tokio::time::timeout(std::time::Duration::from_millis(1), waiting).await;
        assert!(gave_up.is_err());
        assert_eq!(ended.recv().await, None, "the task is gone");
    }
}
