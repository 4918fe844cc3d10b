//! What became of a delivery, and how many there are.

use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{DeadLetters, Deliveries, Depth, Filter, Queues, Repaired, State};
use outbox_transport::{Again, Dedup, Depths, Outcome, Released};

use super::{
    LONG, Subject, all_of, begun, buried, dead, done, look, message, messages, of_rpc, one, other, receive,
    send, settle, settled_as, stranger, tally, won,
};

/// What is said of an event at an RPC: the words of it that both transports have.
async fn told<S: Subject>(subject: &S, event: EventId, rpc: &Rpc) -> String {
    let said = subject.operator().await.of(event, &[one(), other()], None).await.unwrap();
    for rpc in [one(), other()] {
        assert!(said.iter().any(|one| one.rpc == rpc.as_str()), "each RPC has an answer: {said:?}");
    }
    let states: Vec<State> =
        said.into_iter().filter(|one| one.rpc == rpc.as_str()).map(|one| one.state).collect();
    let [state] = &states[..] else { panic!("{states:?}") };
    match state {
        State::Queued { .. } => "queued".to_owned(),
        State::NotReceived => "not received".to_owned(),
        State::Absent => "absent".to_owned(),
        State::Calling { .. } => "calling".to_owned(),
        State::Abandoned { .. } => "abandoned".to_owned(),
        State::Failed { attempt, code, error, .. } => format!("failed {attempt} {code} {error}"),
        State::Dropped { by, .. } => format!("dropped by {by}"),
        State::Done { at } => format!("done {}", at.is_some()),
        State::Dead { attempts, code, reason, .. } => {
            format!("dead {} {code} {reason}", attempts.unwrap_or_default())
        }
    }
}

/// In no queue, or in one where nobody can see it.
fn unseen<S: Subject>() -> &'static str {
    if S::SEES_QUEUES { "absent" } else { "not received" }
}

/// Guards promise 8: each state of a delivery is told, from before it is sent until it is done or dead, and at its own RPC.
pub(super) async fn every_state_is_told<S: Subject>(subject: &S) {
    let sent = messages(&one(), 2);
    let [event, dies] = sent.iter().map(|message| message.event).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(told(subject, event, &one()).await, unseen::<S>());
    send(subject, &sent).await;
    let waiting = if S::SEES_QUEUES { "queued" } else { "not received" };
    assert_eq!(told(subject, event, &one()).await, waiting);
    assert_eq!(told(subject, event, &other()).await, unseen::<S>(), "it was sent to one of them");

    let (queue, dedup) = (subject.queue(&one()).await, subject.dedup(&one(), LONG));
    let received = receive::<S>(&queue, 2).await;
    let lease = won(subject, event, &one(), LONG).await;
    assert_eq!(told(subject, event, &one()).await, "calling");
    let of = |event: EventId| {
        received.iter().find(|one| one.body.contains(&event.to_string())).unwrap().receipt.clone()
    };
    let failed = |after| Outcome::Retry {
        again: Again::Failed,
        after,
        code: "unavailable",
        error: "down for the night".into(),
    };
    let outcome = failed(LONG);
    super::super::release(&dedup, &[Released { lease, attempt: 1, outcome: outcome.clone(), waits: None }])
        .await;
    settle(&queue, &[(of(event), outcome)]).await;
    assert_eq!(told(subject, event, &one()).await, "failed 1 unavailable down for the night");

    let lease = won(subject, dies, &one(), LONG).await;
    let outcome = dead("internal", "no card");
    super::super::release(&dedup, &[Released { lease, attempt: 1, outcome: outcome.clone(), waits: None }])
        .await;
    settle(&queue, &[(of(dies), outcome)]).await;
    assert_eq!(told(subject, dies, &one()).await, "dead 1 internal no card");

    let event = EventId::new();
    let lease = won(subject, event, &one(), LONG).await;
    assert_eq!(told(subject, event, &one()).await, "calling");
    assert!(super::super::lost_of(&dedup, &[lease]).await.is_empty());
    assert_eq!(told(subject, event, &one()).await, "done true");
    assert_eq!(told(subject, event, &other()).await, unseen::<S>());
}

/// Guards promise 8: a letter that was redriven or dropped is not told to be dead, and a lease that ended is not a call.
pub(super) async fn a_repaired_letter_is_dead_no_more<S: Subject>(subject: &S) {
    let [redriven, dropped] = buried(subject, &one(), 2).await[..] else { panic!("two died") };
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "both").await;
    let event = |event| Filter { event: Some(event), ..of_rpc(one()) };
    let letters = look(&mut operator, &event(redriven)).await;
    assert_eq!(tally(&operator.redrive(&repair, &letters, false).await), all_of(&Repaired::Moved, 1));
    operator.put_back().await;
    let letters = look(&mut operator, &event(dropped)).await;
    assert_eq!(tally(&operator.take_away(&repair, &letters).await), all_of(&Repaired::Moved, 1));
    operator.put_back().await;
    let waiting = if S::SEES_QUEUES { "queued" } else { "not received" };
    assert_eq!(told(subject, redriven, &one()).await, waiting);
    assert_eq!(told(subject, dropped, &one()).await, format!("dropped by {}", repair.who));
    assert_eq!(told(subject, dropped, &other()).await, unseen::<S>(), "at its own RPC");

    // What was done after it died stays done, whatever becomes of the letter.
    let [late] = buried(subject, &other(), 1).await[..] else { panic!("one died") };
    done(subject, late, &other()).await;
    let letters = look(&mut operator, &of_rpc(other())).await;
    assert_eq!(tally(&operator.take_away(&repair, &letters).await), all_of(&Repaired::Moved, 1));
    operator.put_back().await;
    assert_eq!(told(subject, late, &other()).await, "done true");
    let event = EventId::new();
    won(subject, event, &one(), Duration::from_millis(1)).await;
    crate::world::until("its lease has ended", async || told(subject, event, &one()).await != "calling")
        .await;
}

/// Guards promise 3: whether an RPC has succeeded for an event is answered for each pair, in their order, however many.
pub(super) async fn each_pair_is_answered_whether_it_was_done<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    assert!(operator.done(&[]).await.unwrap().is_empty());
    let events: Vec<EventId> = (0..150).map(|_| EventId::new()).collect();
    let dedup = subject.dedup(&one(), LONG);
    let first = &events[..5];
    for event in first {
        done(subject, *event, &one()).await;
    }
    let leased = won(subject, events[5], &one(), LONG).await;
    settled_as(subject, &[message(events[6], &one())], &dead("internal", "no card")).await;
    let mut pairs: Vec<(EventId, Rpc)> = events.iter().rev().map(|event| (*event, one())).collect();
    pairs.push((events[0], one()));
    pairs.push((events[0], other()));
    pairs.push((events[0], stranger()));
    let answers = operator.done(&pairs).await.unwrap();
    let expected: Vec<bool> =
        pairs.iter().map(|(event, rpc)| *rpc == one() && first.contains(event)).collect();
    assert_eq!(answers, expected);
    assert!(super::super::lost_of(&dedup, &[leased]).await.is_empty());
    assert_eq!(dedup.lease(&[events[5]]).await.unwrap(), [outbox_transport::LeaseAnswer::Done]);
    assert_eq!(operator.done(&[(events[5], one())]).await.unwrap(), [true]);
}

/// Guards promise 8: every message is counted, once, wherever it is: waiting, with a worker, before its next attempt, dead.
pub(super) async fn every_message_is_counted_once<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let depth = async |rpc: &Rpc| -> Depth {
        let depths = operator.depths(&[one(), other(), stranger()]).await.unwrap();
        assert_eq!(depths.iter().filter(|depth| depth.rpc == rpc.as_str()).count(), 1, "{depths:?}");
        depths.into_iter().find(|depth| depth.rpc == rpc.as_str()).unwrap()
    };
    // Waiting, with a worker or before its next attempt, and dead.
    let counts = async |rpc: &Rpc| {
        let Depth { waiting, hidden, retrying, dead, missing, set_aside, .. } = depth(rpc).await;
        assert!(missing.is_none() && set_aside.is_none(), "{missing:?} {set_aside:?}");
        (waiting.get(), hidden.get() + retrying.unwrap_or_default().get(), dead.get())
    };
    assert_eq!(counts(&one()).await, (0, 0, 0));
    assert_eq!((depth(&one()).await.oldest_event, depth(&one()).await.oldest_seconds), (None, None));
    assert_eq!(depth(&stranger()).await.missing.is_some(), !S::MAKES_QUEUES);
    let undeliverable = operator.undeliverable().await.unwrap();
    assert!(undeliverable.is_none_or(|one| one.messages.is_zero()));

    let sent = messages(&one(), 5);
    send(subject, &sent).await;
    assert_eq!(counts(&one()).await, (5, 0, 0));
    assert_eq!(depth(&one()).await.oldest_seconds.is_some(), S::SEES_QUEUES);
    let queue = subject.queue(&one()).await;
    let mut received = receive::<S>(&queue, 4).await.into_iter().map(|one| one.receipt);
    assert_eq!(counts(&one()).await, (1, 4, 0));
    let later = Outcome::Retry { again: Again::Failed, after: LONG, code: "unavailable", error: "e".into() };
    let settled = [Outcome::Done, later, dead("internal", "no card")];
    let settled: Vec<_> = settled.into_iter().map(|outcome| (received.next().unwrap(), outcome)).collect();
    settle(&queue, &settled).await;
    assert_eq!(counts(&one()).await, (1, 2, 1));
    // The metrics of a worker count with the same words.
    let (measured, counted) = (queue.depth().await.unwrap(), depth(&one()).await);
    assert_eq!((measured.waiting, measured.dead), (counted.waiting.get(), counted.dead.get()));
    if let Some(retrying) = counted.retrying {
        assert_eq!((retrying.get(), measured.retrying), (1, 1));
    }
    assert_eq!(counts(&other()).await, (0, 0, 0));

    // What an operator looks at is there all the same.
    let mut looking = subject.operator().await;
    assert_eq!(look(&mut looking, &Filter::default()).await.len(), 1);
    assert_eq!(counts(&one()).await, (1, 2, 1));
    looking.put_back().await;
    assert_eq!(counts(&one()).await, (1, 2, 1));
}
