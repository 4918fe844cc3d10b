//! Failed attempts and repairs of a delivery.

use std::time::Duration;

use outbox_event::EventId;
use outbox_transport::operate::{DeadLetters, Filter, History, Past, Repaired, Try, What};
use outbox_transport::{Again, Outcome};

use super::{
    Subject, all_of, begun, dead, look, messages, of_rpc, one, other, settle_received, settled_as, tally,
};
use crate::world::{PATIENCE, until};

/// The entries of an event at its RPC. Numbers of attempts differ, because the test's worker does not count.
async fn told<S: Subject>(subject: &S, event: EventId) -> Vec<String> {
    let call = |Try { code, error, worker, .. }| format!("{code} {error} {}", worker.unwrap_or_default());
    let entry = |Past { rpc, at, what }| {
        assert!(rpc.as_deref() == Some(one().as_str()) && at.known().is_some(), "{rpc:?} {at:?}");
        match what {
            What::Failed(made) => format!("failed {}", call(made)),
            What::Dead(made) => format!("dead {}", call(made)),
            What::Redriven { by } => format!("redriven {}", by.unwrap_or_default()),
            What::Replayed { by } => format!("replayed {}", by.unwrap_or_default()),
            What::Dropped { by } => format!("dropped {}", by.unwrap_or_default()),
            other => format!("{other:?}"),
        }
    };
    let past = subject.operator().await.past(event, &[one(), other()]).await.unwrap();
    past.into_iter().map(entry).collect()
}

/// Waits for a story: on AWS an entry may come a little later than its settle.
async fn until_told<S: Subject>(subject: &S, event: EventId, story: &[String]) {
    let waiting = tokio::time::timeout(PATIENCE, async {
        while told(subject, event).await != story {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    if waiting.await.is_err() {
        assert_eq!(told(subject, event).await, story);
    }
}

/// Guards promise 8: failures, deaths and repairs of a delivery are told in their order, with worker and operator, and what was
/// not called is not told.
pub(super) async fn what_was_no_first_success_is_told<S: Subject>(subject: &S) {
    let sent = messages(&one(), 1);
    let event = sent[0].event;
    let retry = |again| Outcome::retry(again, Duration::ZERO, "unavailable", "down for the night");
    settled_as(subject, &sent, &retry(Again::Failed)).await;
    settle_received(subject, &one(), 1, &retry(Again::Postponed)).await;
    settle_received(subject, &one(), 1, &dead("internal", "no card")).await;
    let mut story = vec![
        "replayed me@host".to_owned(),
        "failed unavailable down for the night test".to_owned(),
        "dead internal no card test".to_owned(),
    ];
    until_told(subject, event, &story).await;

    let mut operator = subject.operator().await;
    let repair = begun(&operator, "both").await;
    let of_event = || Filter { event: Some(event), ..of_rpc(one()) };
    let letters = look(&mut operator, &of_event()).await;
    assert_eq!(tally(&operator.redrive(&repair, &letters, false).await), all_of(&Repaired::Moved, 1));
    operator.put_back().await;
    settle_received(subject, &one(), 1, &dead("internal", "no card")).await;
    // A letter that this operator redrove is not shown to it again.
    let mut operator = subject.operator().await;
    let letters = look(&mut operator, &of_event()).await;
    assert_eq!(tally(&operator.take_away(&repair, &letters).await), all_of(&Repaired::Moved, 1));
    operator.put_back().await;
    story.extend(["redriven me@host", "dead internal no card test", "dropped me@host"].map(str::to_owned));
    until_told(subject, event, &story).await;
    assert_eq!(told(subject, EventId::new()).await, [] as [String; 0]);
}

/// Guards promise 7: an event that fails for ever has few entries, and its last one is among them.
pub(super) async fn a_long_story_is_cut<S: Subject>(subject: &S) {
    let sent = messages(&one(), 1);
    let event = sent[0].event;
    let failed = |error: &str| Outcome::retry(Again::Failed, Duration::ZERO, "unavailable", error);
    settled_as(subject, &sent, &failed(&"é".repeat(2000))).await;
    for _ in 0..42 {
        settle_received(subject, &one(), 1, &failed("down")).await;
    }
    // On AWS the list has 40 entries, and three more are counted.
    let counted = "LeftOut { entries: 2 }".to_owned();
    until("all are kept", async || S::COUNTS_ATTEMPTS || told(subject, event).await.contains(&counted)).await;
    settle_received(subject, &one(), 1, &dead("internal", "at last")).await;
    let died = "dead internal at last test".to_owned();
    until("its death is kept", async || told(subject, event).await.contains(&died)).await;
    let story = told(subject, event).await;
    assert!(story.len() < 45, "{} entries", story.len());
    assert_eq!(story[1], format!("failed unavailable {} test", "é".repeat(500)));
    assert_eq!(story.last().unwrap(), "dead internal at last test");
}
