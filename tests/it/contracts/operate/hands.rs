//! What is in a queue, and what an operator does with it.

use std::time::Duration;

use outbox_event::EventId;
use outbox_transport::operate::{
    Able, Carried, DeadLetters, Deliveries, Filter, Hand, InQueue, Look, OperateError, Part, Retire, Spot,
    Stage, State, Waiting,
};
use outbox_transport::{Again, LeaseAnswer, Outcome, Released};

use super::{
    LONG, Subject, begun, buried, done, lease, listed, look, messages, of_rpc, one, other, receive, send,
    settled_as, sorted, won,
};

const HANDS: [Hand; 5] = [Hand::List, Hand::RetryNow, Hand::GiveUp, Hand::Move, Hand::Drop];

fn everything() -> Look {
    Look { rpc: one(), due: true, later: true, calling: true, newest: false, header: None }
}

async fn seen<S: Subject>(subject: &S, look: &Look) -> Vec<InQueue> {
    let operator = subject.operator().await;
    let mut seen: Vec<InQueue> = Vec::new();
    loop {
        let page = operator.look(look, seen.last().map(|one| one.spot)).await.unwrap();
        if page.is_empty() {
            return seen;
        }
        seen.extend(page);
    }
}

fn failed(after: Duration) -> Outcome {
    Outcome::retry(Again::Failed, after, "unavailable", "down for the night")
}

fn said(refused: &OperateError) -> bool {
    !refused.unreachable && !refused.problem.is_empty() && !refused.remedy.is_empty()
}

/// Guards promise 8: a transport that can't do something says so, with what to use instead, and does nothing.
pub(super) async fn what_is_not_possible_is_said<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    for hand in HANDS {
        let refusal = operator.refusal(hand);
        assert_eq!(refusal.is_none(), S::SEES_QUEUES, "{hand:?}");
        assert!(refusal.is_none_or(|refused| said(&refused)), "{hand:?}");
    }
    if S::SEES_QUEUES {
        return;
    }
    buried(subject, &one(), 1).await;
    let repair = begun(&operator, "hands").await;
    let spot = Spot { seq: 1, event: EventId::new(), logged: false };
    for refused in [
        operator.look(&everything(), None).await.err(),
        operator.retry_now(&repair, &one(), &[spot]).await.err(),
        operator.give_up(&repair, &one(), &[spot], "").await.err(),
        operator.move_some(&repair, &one(), &other(), Part::Dead).await.err(),
        operator.carry(&repair, &one(), &other(), Carried::default()).await.err(),
        operator.drop_some(&repair, &one()).await.err(),
        operator.remove(&repair, &one()).await.err(),
    ] {
        assert!(refused.is_some_and(|refused| said(&refused)));
    }
    assert_eq!(listed(subject, &of_rpc(one())).await.len(), 1, "nothing was moved or dropped");
}

/// Guards promise 8: what waits, fails and is called is seen with its event, its last error and its next attempt, in both
/// directions and over several pages.
pub(super) async fn what_is_in_a_queue_is_seen<S: Subject>(subject: &S) {
    if !S::SEES_QUEUES {
        return;
    }
    let late = messages(&one(), 1);
    settled_as(subject, &late, &failed(LONG)).await;
    let held = messages(&one(), 1);
    let of_held = Outcome::retry(Again::Held, LONG, "internal", "held, as others were refused alike: no");
    settled_as(subject, &held, &of_held).await;
    let called = messages(&one(), 1);
    send(subject, &called).await;
    let _received = receive::<S>(&subject.queue(&one()).await, 1).await;
    let waiting = messages(&one(), 1100);
    for some in waiting.chunks(200) {
        send(subject, some).await;
    }

    let all = seen(subject, &Look { header: Some("acme-tenant".into()), ..everything() }).await;
    assert_eq!(all.len(), 1103, "each once");
    assert!(all.iter().map(|one| one.spot.seq).is_sorted());
    let of = |event: EventId| all.iter().find(|one| one.event == event).unwrap();
    let (late, held, called) = (of(late[0].event), of(held[0].event), of(called[0].event));
    assert_eq!((late.state, held.state, called.state), (Stage::Retrying, Stage::Held, Stage::Calling));
    assert_eq!((late.attempts, late.code.as_deref()), (1, Some("unavailable")));
    assert_eq!(late.reason.as_deref(), Some("down for the night"));
    assert!(late.due_at.unwrap().known().unwrap() > late.since.known().unwrap());
    let first = of(waiting[0].event);
    assert_eq!((first.state, first.rpc.as_str()), (Stage::Waiting, one().as_str()));
    assert_eq!((first.event_name.as_deref(), first.key.as_deref()), (Some("event_one"), Some("key \"é\"")));
    assert_eq!(first.header.as_deref(), Some("t-1"));

    let newest = seen(subject, &Look { newest: true, ..everything() }).await;
    assert_eq!(newest.len(), 1103);
    assert!(newest.iter().map(|one| -one.spot.seq).is_sorted());
    let nothing = Look { due: false, later: false, calling: false, ..everything() };
    for (look, expected) in [
        (Look { due: true, ..nothing.clone() }, 1100),
        (Look { later: true, ..nothing.clone() }, 2),
        (Look { calling: true, ..nothing.clone() }, 1),
        (Look { rpc: other(), ..everything() }, 0),
        (nothing, 0),
    ] {
        assert_eq!(seen(subject, &look).await.len(), expected, "{look:?}");
    }
}

/// Guards promise 2: what waits for its next attempt can be tried at once; what is given up is a dead letter with its reason,
/// and can be redriven. What a worker calls stays.
pub(super) async fn a_retry_is_brought_forward_or_given_up<S: Subject>(subject: &S) {
    if !S::SEES_QUEUES {
        return;
    }
    let sent = messages(&one(), 2);
    settled_as(subject, &sent, &failed(LONG)).await;
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "hands").await;
    let spots: Vec<Spot> = seen(subject, &everything()).await.iter().map(|one| one.spot).collect();
    assert_eq!(operator.retry_now(&repair, &other(), &spots).await, Ok(0), "another queue's");
    assert_eq!(operator.retry_now(&repair, &one(), &spots[..1]).await, Ok(1));
    assert_eq!(operator.retry_now(&repair, &one(), &spots[..1]).await, Ok(0), "it is due already");
    let queue = subject.queue(&one()).await;
    let received = receive::<S>(&queue, 1).await;
    assert_eq!(received[0].attempt, 2, "attempts go on counting");

    assert_eq!(operator.give_up(&repair, &one(), &spots, "ticket 17").await, Ok(1), "one is being called");
    let letters = look(&mut operator, &of_rpc(one())).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event, Some(spots[1].event));
    assert_eq!(
        (letters[0].code.as_str(), letters[0].reason.as_str()),
        ("given_up", "given up by me@host: ticket 17")
    );
    assert_eq!(operator.give_up(&repair, &one(), &spots, "").await, Ok(0), "given up once");
    let moved = operator.redrive(&repair, &letters, false).await;
    assert!(moved.iter().all(Result::is_ok), "{moved:?}");
    operator.put_back().await;
    assert_eq!(receive::<S>(&queue, 1).await[0].body, sent_body(&sent, spots[1].event));
}

/// Guards promise 3: while a lease lasts, its message is given to no other RPC and is no dead letter, even if its claim has ended.
/// What is done is given up by nobody.
pub(super) async fn what_may_be_called_is_neither_moved_nor_given_up<S: Subject>(subject: &S) {
    if !S::SEES_QUEUES {
        return;
    }
    let sent = messages(&one(), 3);
    send(subject, &sent).await;
    let [called, succeeded, free] = [sent[0].event, sent[1].event, sent[2].event];
    let lease = won(subject, called, &one(), LONG).await;
    done(subject, succeeded, &one()).await;
    let operator = subject.operator().await;
    let repair = begun(&operator, "hands").await;
    let spots: Vec<Spot> = seen(subject, &everything()).await.iter().map(|one| one.spot).collect();
    assert_eq!(spots.len(), 3);
    assert_eq!(operator.give_up(&repair, &one(), &spots, "").await, Ok(1));
    assert_eq!(listed(subject, &of_rpc(one())).await, [Some(free)]);
    assert_eq!(operator.move_some(&repair, &one(), &other(), Part::Live).await, Ok((1, false)));
    let left: Vec<EventId> = seen(subject, &everything()).await.iter().map(|one| one.event).collect();
    assert_eq!(left, [called]);

    let again = failed(Duration::ZERO);
    let released = Released { lease, attempt: 1, outcome: again, waits: None };
    super::super::release(&subject.dedup(&one(), LONG), &[released]).await;
    assert_eq!(operator.move_some(&repair, &one(), &other(), Part::Live).await, Ok((1, false)));
    assert!(seen(subject, &everything()).await.is_empty());
}

fn sent_body(sent: &[outbox_transport::operate::Addressed], event: EventId) -> &str {
    &sent.iter().find(|one| one.event == event).unwrap().body
}

/// Guards promises 2 and 3: what one RPC's queue has goes to the other's, addressed to it. What was done under the old name is
/// done under the new one.
pub(super) async fn a_renamed_rpc_gets_what_its_old_name_had<S: Subject>(subject: &S) {
    if !S::SEES_QUEUES {
        return;
    }
    let dead = buried(subject, &one(), 1).await;
    let late = messages(&one(), 1);
    settled_as(subject, &late, &failed(LONG)).await;
    let waiting = messages(&one(), 2);
    send(subject, &waiting).await;
    let long_ago = EventId::new();
    done(subject, long_ago, &one()).await;
    done(subject, waiting[1].event, &one()).await;

    let mut operator = subject.operator().await;
    let repair = begun(&operator, "move").await;
    let (mut next, mut carried) = (Some(Carried::default()), 0);
    while let Some(after) = next {
        let (some, rest) = operator.carry(&repair, &one(), &other(), after).await.unwrap();
        (carried, next) = (carried + some, rest);
    }
    assert_eq!(carried, 2);
    assert_eq!(operator.move_some(&repair, &one(), &other(), Part::Live).await, Ok((3, false)));
    assert_eq!(operator.move_some(&repair, &one(), &other(), Part::Live).await, Ok((0, false)));
    assert_eq!(operator.move_some(&repair, &one(), &other(), Part::Dead).await, Ok((1, false)));
    assert!(seen(subject, &everything()).await.is_empty());
    assert!(listed(subject, &of_rpc(one())).await.is_empty());

    let there = seen(subject, &Look { rpc: other(), ..everything() }).await;
    assert_eq!(
        sorted(there.iter().map(|one| one.event)),
        sorted([late[0].event, waiting[0].event, waiting[1].event])
    );
    let moved = there.iter().find(|one| one.event == late[0].event).unwrap();
    assert_eq!((moved.state, moved.attempts), (Stage::Retrying, 1), "with its attempts and its time");
    let letters = look(&mut operator, &of_rpc(other())).await;
    assert_eq!(letters.iter().map(|letter| letter.event).collect::<Vec<_>>(), [Some(dead[0])]);
    assert!(letters[0].body.starts_with(r#"{"rpc":"Test/Other","event""#), "{}", letters[0].body);
    operator.put_back().await;
    for received in receive::<S>(&subject.queue(&other()).await, 2).await {
        assert!(received.body.starts_with(r#"{"rpc":"Test/Other","event""#), "{}", received.body);
    }
    for event in [long_ago, waiting[1].event] {
        assert_eq!(lease(subject, event, &other(), LONG).await, LeaseAnswer::Done, "called again");
    }
    assert!(matches!(lease(subject, waiting[0].event, &other(), LONG).await, LeaseAnswer::Won(_)));
}

/// Guards promise 8: a queue that is removed takes what is in it along, and each of its events is known to be dropped.
pub(super) async fn a_removed_queue_leaves_a_trace<S: Subject>(subject: &S) {
    if !S::SEES_QUEUES {
        return;
    }
    let dead = buried(subject, &one(), 1).await;
    let waiting = messages(&one(), 2);
    send(subject, &waiting).await;
    let operator = subject.operator().await;
    let repair = begun(&operator, "drop").await;
    assert_eq!(operator.remove(&repair, &one()).await, Ok(false), "something is in it");
    let mut dropped = 0;
    loop {
        match operator.drop_some(&repair, &one()).await.unwrap() {
            0 => break,
            some => dropped += some,
        }
    }
    assert_eq!(dropped, 3);
    assert_eq!(operator.remove(&repair, &one()).await, Ok(true));
    assert_eq!(operator.remove(&repair, &one()).await, Ok(false), "removed once");
    assert_eq!(operator.queues().await.unwrap(), [other()]);
    assert!(listed(subject, &Filter::default()).await.is_empty());
    for event in [dead[0], waiting[0].event, waiting[1].event] {
        let known = operator.of(event, &[], None).await.unwrap();
        assert!(
            known.iter().any(|one| one.rpc == "Test/One" && matches!(one.state, State::Dropped { .. })),
            "{known:?}"
        );
    }
}
