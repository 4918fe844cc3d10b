//! Dead letters, redriven and dropped.

use std::collections::BTreeMap;

use chrono::Utc;
use outbox_event::EventId;
use outbox_transport::LeaseAnswer;
use outbox_transport::operate::{Audit, DeadLetters, Filter, Repaired};

use super::{
    LONG, Subject, all_of, begun, buried, dead, done, is_empty, lease, listed, look, message, of_rpc, one,
    other, receive, settle_received, settled_as, sorted, tally, won,
};

/// Guards promise 2: what is redriven is received again as it was, with its attempts counted anew; what was not meant stays.
pub(super) async fn what_is_redriven_is_received_again_as_it_was<S: Subject>(subject: &S) {
    let began = Utc::now() - chrono::TimeDelta::minutes(1);
    let events = buried(subject, &one(), 3).await;
    let elsewhere = buried(subject, &other(), 1).await;
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "redrive").await;

    // One, by its event.
    let letters = look(&mut operator, &Filter { event: Some(events[1]), ..Filter::default() }).await;
    assert_eq!(letters.len(), 1);
    let bodies: Vec<String> = letters.iter().map(|letter| letter.body.clone()).collect();
    let moved = operator.redrive(&repair, &letters, false).await;
    assert_eq!(moved, [Ok(Repaired::Moved)]);
    let again = operator.redrive(&repair, &letters, false).await;
    assert_eq!(again, [Ok(Repaired::Gone)], "it is moved already");
    operator.put_back().await;
    assert_eq!(
        sorted(listed(subject, &Filter::default()).await.into_iter().flatten()),
        sorted([events[0], events[2], elsewhere[0]])
    );
    let queue = subject.queue(&one()).await;
    let received = receive::<S>(&queue, 1).await;
    assert_eq!((&received[0].body, received[0].attempt), (&bodies[0], 1));
    assert!(received[0].enqueued_at >= began, "it is as old as its redrive, and not as its event");
    assert!(
        matches!(lease(subject, events[1], &one(), LONG).await, LeaseAnswer::Won(_)),
        "its RPC may be called"
    );
    super::settle(&queue, &[(received[0].receipt.clone(), outbox_transport::Outcome::Done)]).await;

    // The rest of its RPC, and then of all.
    for (filter, expected) in [(of_rpc(one()), 2), (Filter::default(), 1), (Filter::default(), 0)] {
        let letters = look(&mut operator, &filter).await;
        assert_eq!(
            tally(&operator.redrive(&repair, &letters, false).await).values().sum::<usize>(),
            expected
        );
        operator.put_back().await;
    }
    assert_eq!(operator.redrive(&repair, &[], false).await, []);
    operator.end(&repair).await.unwrap();
    let received = receive::<S>(&queue, 2).await;
    assert!(received.iter().all(|one| one.attempt == 1), "{received:?}");
    assert_eq!(receive::<S>(&subject.queue(&other()).await, 1).await.len(), 1);
    assert!(listed(subject, &Filter::default()).await.is_empty());
}

/// Guards promise 6: a letter that dies again while a redrive goes on is not sent back by it once more.
pub(super) async fn what_dies_again_is_not_redriven_for_ever<S: Subject>(subject: &S) {
    let events = buried(subject, &one(), 2).await;
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "redrive").await;
    let letters = operator.next(&of_rpc(one())).await.unwrap();
    let moved = operator.redrive(&repair, &letters, false).await;
    assert_eq!(tally(&moved), all_of(&Repaired::Moved, letters.len()));
    settle_received(subject, &one(), letters.len(), &dead("internal", "still no card")).await;
    let more = look(&mut operator, &of_rpc(one())).await;
    assert_eq!(letters.len() + more.len(), events.len(), "sent back twice by one redrive");
    operator.put_back().await;
    assert_eq!(listed(subject, &of_rpc(one())).await.len(), events.len(), "the next command sees them");
}

/// Guards promise 3: a letter of an event that was done meanwhile calls nobody when it is redriven; only force forgets that
/// it was done, and not while somebody calls.
pub(super) async fn what_was_done_is_called_again_only_by_force<S: Subject>(subject: &S) {
    let [copy, forced, busy] = buried(subject, &one(), 3).await[..] else { panic!("three died") };
    done(subject, copy, &one()).await;
    done(subject, forced, &one()).await;
    // The same event at another RPC has a record of its own.
    done(subject, forced, &other()).await;
    let held = won(subject, busy, &one(), LONG).await;
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "redrive").await;
    for (event, force, expected, answer) in [
        (copy, false, Repaired::Moved, LeaseAnswer::Done),
        (busy, true, Repaired::Busy, LeaseAnswer::Held { remaining: LONG }),
    ] {
        let filter = Filter { event: Some(event), ..of_rpc(one()) };
        let letters = look(&mut operator, &filter).await;
        assert_eq!(operator.redrive(&repair, &letters, force).await, [Ok(expected)]);
        operator.put_back().await;
        let leased = lease(subject, event, &one(), LONG).await;
        assert_eq!(std::mem::discriminant(&leased), std::mem::discriminant(&answer), "{leased:?}");
    }
    let left = listed(subject, &of_rpc(one())).await;
    assert_eq!(sorted(left), sorted([Some(forced), Some(busy)]), "what is being called stays");
    assert!(super::super::lost_of(&subject.dedup(&one(), LONG), &[held]).await.is_empty());

    let filter = Filter { event: Some(forced), ..of_rpc(one()) };
    let letters = look(&mut operator, &filter).await;
    assert_eq!(operator.redrive(&repair, &letters, true).await, [Ok(Repaired::Moved)]);
    operator.put_back().await;
    assert!(matches!(lease(subject, forced, &one(), LONG).await, LeaseAnswer::Won(_)), "it runs again");
    assert_eq!(lease(subject, forced, &other(), LONG).await, LeaseAnswer::Done);
}

/// Guards promise 8: what is dropped is gone for good, and is not received; what was not meant stays.
pub(super) async fn what_is_dropped_is_gone<S: Subject>(subject: &S) {
    let events = buried(subject, &one(), 2).await;
    let refused = [message(EventId::new(), &one())];
    settled_as(subject, &refused, &dead("invalid_argument", "no such card")).await;
    let mut operator = subject.operator().await;
    let repair = begun(&operator, "drop").await;
    let letters = look(&mut operator, &Filter { code: Some("internal".into()), ..of_rpc(one()) }).await;
    assert_eq!(tally(&operator.take_away(&repair, &letters).await), all_of(&Repaired::Moved, events.len()));
    let again = operator.take_away(&repair, &letters).await;
    assert_eq!(tally(&again), all_of(&Repaired::Gone, events.len()), "dropped once");
    let redriven = operator.redrive(&repair, &letters, false).await;
    assert_eq!(tally(&redriven), all_of(&Repaired::Gone, events.len()), "what is dropped can't be redriven");
    assert_eq!(operator.take_away(&repair, &[]).await, []);
    operator.put_back().await;
    operator.end(&repair).await.unwrap();
    assert_eq!(listed(subject, &Filter::default()).await, [Some(refused[0].event)]);
    assert!(is_empty(subject, &one()).await, "it came back");
}

/// Guards promise 3: two operators who have the same letters before them move each once, and what both say adds up.
pub(super) async fn two_operators_repair_nothing_twice<S: Subject>(subject: &S) {
    let many = 8;
    buried(subject, &one(), many).await;
    let (mut first, mut second) = (subject.operator().await, subject.operator().await);
    let (one_repair, other_repair) = (begun(&first, "redrive").await, begun(&second, "redrive").await);
    let seen = look(&mut first, &of_rpc(one())).await;
    first.put_back().await;
    let also_seen = look(&mut second, &of_rpc(one())).await;
    assert_eq!((seen.len(), also_seen.len()), (many, many));
    let (ours, theirs) = tokio::join!(
        first.redrive(&one_repair, &seen, false),
        second.redrive(&other_repair, &also_seen, false)
    );
    let said = tally(&[ours, theirs].concat());
    assert_eq!(said, BTreeMap::from([("Gone".to_owned(), many), ("Moved".to_owned(), many)]));
    second.put_back().await;
    let queue = subject.queue(&one()).await;
    let received = receive::<S>(&queue, many).await;
    let receipts: Vec<_> =
        received.into_iter().map(|one| (one.receipt, outbox_transport::Outcome::Done)).collect();
    super::settle(&queue, &receipts).await;
    assert!(is_empty(subject, &one()).await, "some were sent twice");
    assert!(listed(subject, &Filter::default()).await.is_empty());
}

/// Guards promise 2: while one operator redrives and another drops, each letter is moved by one of them, and none stays.
pub(super) async fn two_operators_share_the_letters<S: Subject>(subject: &S) {
    let many = S::PAGES;
    buried(subject, &one(), many).await;
    let (mut first, mut second) = (subject.operator().await, subject.operator().await);
    let (redrive, drop) = (begun(&first, "redrive").await, begun(&second, "drop").await);
    let redriving = async {
        let mut answers = Vec::new();
        loop {
            let letters = first.next(&of_rpc(one())).await.unwrap();
            if letters.is_empty() {
                return answers;
            }
            answers.extend(first.redrive(&redrive, &letters, false).await);
        }
    };
    let dropping = async {
        let mut answers = Vec::new();
        loop {
            let letters = second.next(&of_rpc(one())).await.unwrap();
            if letters.is_empty() {
                return answers;
            }
            answers.extend(second.take_away(&drop, &letters).await);
        }
    };
    let (redriven, dropped) = tokio::join!(redriving, dropping);
    let moved = |answers: &[Result<Repaired, _>]| {
        let moved = answers.iter().filter(|answer| **answer == Ok(Repaired::Moved));
        moved.count()
    };
    let (redriven, dropped) = (moved(&redriven), moved(&dropped));
    assert_eq!(redriven + dropped, many);
    let queue = subject.queue(&one()).await;
    let received = receive::<S>(&queue, redriven).await;
    let receipts: Vec<_> =
        received.into_iter().map(|one| (one.receipt, outbox_transport::Outcome::Done)).collect();
    super::settle(&queue, &receipts).await;
    assert!(is_empty(subject, &one()).await, "some were sent twice");
    assert!(listed(subject, &Filter::default()).await.is_empty());
}
