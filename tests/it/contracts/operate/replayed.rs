//! Events of the past, sent into the queues of their RPCs again.

use std::time::Duration;

use outbox_event::EventId;
use outbox_transport::operate::{Deliveries, Queues};
use outbox_transport::{LeaseAnswer, Outcome};

use super::{
    LONG, Subject, begun, done, is_empty, lease, message, messages, one, other, receive, settle, sorted,
    stranger, won,
};
use crate::world::until;

/// Guards promise 2: each message of a replay is received by its RPC once, as it was sent, and at its first attempt.
pub(super) async fn a_replay_is_received_by_its_rpc<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let repair = begun(&operator, "replay").await;
    assert_eq!(operator.replay(&repair, &[], false).await, []);
    let mut sent = messages(&one(), 12);
    // The same event, for another RPC, too.
    sent.push(message(sent[0].event, &other()));
    assert_eq!(operator.replay(&repair, &sent, false).await, vec![Ok(true); sent.len()]);
    for rpc in [one(), other()] {
        let bodies = sent.iter().filter(|message| message.rpc == rpc).map(|message| message.body.clone());
        let bodies = sorted(bodies);
        let queue = subject.queue(&rpc).await;
        let received = receive::<S>(&queue, bodies.len()).await;
        assert!(received.iter().all(|one| one.attempt == 1), "{received:?}");
        assert_eq!(sorted(received.iter().map(|one| one.body.clone())), bodies);
        let all: Vec<_> = received.into_iter().map(|one| (one.receipt, Outcome::Done)).collect();
        settle(&queue, &all).await;
        assert!(is_empty(subject, &rpc).await, "more came than was sent");
    }
}

/// Guards promise 3: a replay forgets that an event was done only by force, only at its own RPC, and not while somebody calls
/// that: then nothing is sent to it, and the others are.
pub(super) async fn only_force_forgets_and_no_call_under_way<S: Subject>(subject: &S) {
    let (operator, dedup) = (subject.operator().await, subject.dedup(&one(), LONG));
    let repair = begun(&operator, "replay").await;
    let sent = messages(&one(), 4);
    let [was_done, busy, new, ended] = sent.iter().map(|message| message.event).collect::<Vec<_>>()[..]
    else {
        panic!("there are four")
    };
    done(subject, was_done, &one()).await;
    done(subject, was_done, &other()).await;
    let held = won(subject, busy, &one(), LONG).await;
    won(subject, ended, &one(), Duration::from_millis(1)).await;

    assert_eq!(operator.replay(&repair, &sent[..1], false).await, [Ok(true)]);
    assert_eq!(lease(subject, was_done, &one(), LONG).await, LeaseAnswer::Done, "not by force");

    let mut answers = Vec::new();
    until("the lease has ended", async || {
        // The others are new each time, and what is done stays to be forgotten.
        answers = operator.replay(&repair, &sent[3..], true).await;
        answers == [Ok(true)]
    })
    .await;
    assert_eq!(
        operator.replay(&repair, &sent[..3], true).await,
        [Ok(true), Ok(false), Ok(true)],
        "answers in their order"
    );
    for (event, name) in [(was_done, "done before"), (new, "new"), (ended, "with a lease that ended")] {
        assert!(matches!(lease(subject, event, &one(), LONG).await, LeaseAnswer::Won(_)), "{name}");
    }
    assert_eq!(lease(subject, was_done, &other(), LONG).await, LeaseAnswer::Done);
    assert!(matches!(lease(subject, busy, &one(), LONG).await, LeaseAnswer::Held { .. }));
    assert!(super::super::lost_of(&dedup, &[held]).await.is_empty(), "its call goes on");
    let received = receive::<S>(&subject.queue(&one()).await, 4).await;
    let bodies = sorted(received.into_iter().map(|one| one.body));
    let expected = [&sent[0], &sent[0], &sent[2], &sent[3]].map(|message| message.body.clone());
    assert_eq!(bodies, sorted(expected));
    assert_eq!(operator.done(&[(busy, one())]).await.unwrap(), [true]);
}

/// Guards promise 8: what the store refuses is answered as a failure, alone or for all, and the answers are what was sent.
pub(super) async fn what_is_refused_is_not_said_to_be_sent<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let repair = begun(&operator, "replay").await;
    let mut sent = messages(&one(), 3);
    // No text of Postgres has it, and no body on SQS.
    sent[1].body.push('\u{0}');
    let answers = operator.replay(&repair, &sent, false).await;
    match &answers[..] {
        [Err(error)] => {
            assert!(!error.remedy.is_empty(), "{error:?}");
            assert!(is_empty(subject, &one()).await, "{answers:?}, and some were sent");
        }
        [Ok(true), Err(error), Ok(true)] => {
            assert!(!error.remedy.is_empty(), "{error:?}");
            let received = receive::<S>(&subject.queue(&one()).await, 2).await;
            assert!(received.iter().all(|one| one.body != sent[1].body));
        }
        answers => panic!("{answers:?}"),
    }
}

/// Guards promise 3: what can't be sent, because its RPC has no queue, is not forgotten either. Where a replay makes queues,
/// it is sent.
pub(super) async fn nothing_is_forgotten_for_an_rpc_without_a_queue<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let repair = begun(&operator, "replay").await;
    let event = EventId::new();
    done(subject, event, &stranger()).await;
    let answers = operator.replay(&repair, &[message(event, &stranger())], true).await;
    match &answers[..] {
        [Ok(true)] if S::MAKES_QUEUES => {
            let received = receive::<S>(&subject.queue(&stranger()).await, 1).await;
            assert_eq!(received[0].body, message(event, &stranger()).body);
        }
        [Err(error)] if !S::MAKES_QUEUES => {
            assert!(error.problem.contains("there is no queue"), "{error:?}");
            assert_eq!(lease(subject, event, &stranger(), LONG).await, LeaseAnswer::Done);
        }
        answers => panic!("{answers:?}"),
    }
}
