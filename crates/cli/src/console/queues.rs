//! In which queue a question stands, so that one viewer's searches hold up no other viewer's pages.

use std::sync::Arc;

use outbox_console::{Answer, Question, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// So many questions are answered at a time that are shared, and that are of one viewer: each opens connections to the databases.
const TOGETHER: [usize; 2] = [1, 2];
/// Of a kind. Others are refused, so that no page waits for long.
const WAITING_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Asking {
    pub(super) question: Question,
    pub(super) reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// What stands in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of each page, and small; and changes, which wait for no page.
    First,
    /// One look for all viewers.
    Shared,
    /// Of one viewer.
    Own,
}

impl Kind {
    /// With SQS, who reads dead letters hides them from others for a while. So they are read one at a time.
    pub(super) fn of(question: &Question, is_sqs: bool) -> Self {
        match question.words.first().map(String::as_str) {
            _ if question.changes => Self::First,
            Some("status" | "role" | "routes") => Self::First,
            Some("dlq") if is_sqs => Self::Shared,
            _ if question.is_shared() => Self::Shared,
            _ => Self::Own,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    asked: mpsc::Receiver<Asking>,
    places: Arc<Semaphore>,
}

/// The queue of what is asked first, and the two others with their places.
pub(super) fn queues() -> ([mpsc::Sender<Asking>; 3], mpsc::Receiver<Asking>, [Queue; 2]) {
    let (to_first, first) = mpsc::channel(WAITING_MAX);
    let queues = TOGETHER.map(|together| {
        let (to, asked) = mpsc::channel(WAITING_MAX);
        (to, Queue { asked, places: Arc::new(Semaphore::new(together)) })
    });
    let [(to_shared, shared), (to_own, own)] = queues;
    ([to_first, to_shared, to_own], first, [shared, own])
}

impl Queue {
    /// With its place: it has one before the next is taken out, so that those that wait are in the queue, which has an end.
    pub(super) async fn next(&mut self) -> Option<(Asking, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        loop {
            let asking = self.asked.recv().await?;
            // Not for a browser that has gone.
            if !asking.reply.is_closed() {
                return Some((asking, place));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::console) fn question(words: &[&str]) -> Question {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Question { words, who: "ann, console".to_owned(), changes: false }
    }

    /// Guards promise 8: what all pages need waits for no search, and dead letters of SQS are read by one at a time.
    #[test]
    fn questions_stand_in_queues() {
        let shared = |words: &[&str]| Question { who: "console".to_owned(), ..question(words) };
        let change = |words: &[&str]| Question { changes: true, ..question(words) };
        for (question, on_postgres, on_aws) in [
            (shared(&["status"]), Kind::First, Kind::First),
            (shared(&["role"]), Kind::First, Kind::First),
            (question(&["routes"]), Kind::First, Kind::First),
            (change(&["dlq", "redrive"]), Kind::First, Kind::First),
            (shared(&["dlq", "summary"]), Kind::Shared, Kind::Shared),
            (shared(&["doctor"]), Kind::Shared, Kind::Shared),
            (question(&["dlq", "list"]), Kind::Own, Kind::Shared),
            (question(&["find", "--key=status"]), Kind::Own, Kind::Own),
        ] {
            assert_eq!(Kind::of(&question, false), on_postgres, "{question:?}");
            assert_eq!(Kind::of(&question, true), on_aws, "{question:?}");
        }
    }
}
