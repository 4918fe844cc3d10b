//! Repairs of many things: seen by everybody, stopped by anybody, and bounded.

use chrono::Utc;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Asked, Audit, Clocked, DeadLetters, Fates, Filter, Job, Kind, Reached, Repair, Repairs, Standing, Started,
};
use uuid::Uuid;

use super::{Subject, buried, is_empty, listed, look, of_rpc, one, other};

fn repair() -> Repair {
    let (id, who) = (EventId::new().as_uuid(), "me@host".to_owned());
    Repair { id, at: Utc::now(), who, command: "outbox dlq redrive".to_owned(), result: None }
}

fn job(kind: Kind, rpc: Option<Rpc>) -> Job {
    let plan = vec!["dlq".to_owned(), "redrive".to_owned(), "--code".to_owned(), "a b".to_owned()];
    Job { kind, rpc, plan, rate: Some(50), continues: None, bound: None, older_than: None, also: false }
}

/// The repair in the way, if there is one.
async fn refused<O: Repairs>(operator: &O, repair: &Repair, job: &Job) -> Option<Uuid> {
    match operator.start(repair, job, false).await.unwrap() {
        Started::Begun { .. } => None,
        Started::InTheWay(kept) => Some(kept.id),
    }
}

/// Guards promise 8: a repair's progress is seen by others, anybody may ask it to stop, and what became of it is kept.
pub(super) async fn a_repair_is_seen_and_stopped<S: Subject>(subject: &S) {
    let (mine, others) = (subject.operator().await, subject.operator().await);
    let made = repair();
    assert_eq!(Repairs::stop(&others, made.id, "you@host").await.unwrap(), Asked::Unknown);
    assert!(others.find(made.id).await.unwrap().is_none());
    assert_eq!(refused(&mine, &made, &job(Kind::Redrive, Some(one()))).await, None);
    let reached = Reached { reached: 3, total: Some(7), place: Some("here".to_owned()), fates: false };
    assert_eq!(mine.beat(&made, &reached).await.unwrap().stop_by, None);
    let kept = others.find(made.id).await.unwrap().unwrap();
    let progress = kept.progress.clone().unwrap();
    assert_eq!(
        (kept.standing(), progress.kind, progress.rpc.as_deref()),
        (Standing::Running, Kind::Redrive, Some("Test/One"))
    );
    assert_eq!((progress.reached, progress.total, progress.place.as_deref()), (3, Some(7), Some("here")));
    assert_eq!(progress.plan, job(Kind::Redrive, None).plan);

    assert_eq!(Repairs::stop(&others, made.id, "you@host").await.unwrap(), Asked::Asked);
    let heard = mine.beat(&made, &Reached { fates: true, ..reached }).await.unwrap();
    assert_eq!(heard.stop_by.as_deref(), Some("you@host"));
    assert_eq!(heard.fates, Some(Fates::default()));
    let result = Some(r#"{"moved":3,"stopped":"by you@host"}"#.to_owned());
    mine.end(&Repair { result, ..made.clone() }).await.unwrap();
    let kept = others.kept(1).await.unwrap().remove(0);
    assert_eq!((kept.id, kept.standing(), kept.changed()), (made.id, Standing::Stopped, Some(3)));
    assert_eq!(Repairs::stop(&others, made.id, "you@host").await.unwrap(), Asked::Over);
}

/// Guards promise 3: one repair of a kind runs for an RPC, unless it is meant. Another kind, another RPC, and what has ended
/// are in nobody's way.
pub(super) async fn one_repair_of_a_kind_runs_for_an_rpc<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let first = repair();
    assert_eq!(refused(&operator, &first, &job(Kind::Redrive, Some(one()))).await, None);
    for (kind, rpc, also, waits) in [
        (Kind::Redrive, Some(one()), false, true),
        (Kind::Redrive, None, false, true),
        (Kind::Redrive, Some(one()), true, false),
        (Kind::Redrive, Some(other()), false, false),
        (Kind::Drop, Some(one()), false, false),
    ] {
        let second = repair();
        let refused = refused(&operator, &second, &Job { also, ..job(kind, rpc.clone()) }).await;
        assert_eq!(refused, waits.then_some(first.id), "{kind} {rpc:?} {also}");
        if !waits {
            operator.end(&second).await.unwrap();
        }
    }
    operator.end(&first).await.unwrap();
    assert_eq!(refused(&operator, &repair(), &job(Kind::Redrive, None)).await, None);
}

/// Guards promise 3: of many that begin at the same moment, one goes on at most. The others say which one they saw, and have
/// ended.
pub(super) async fn of_many_at_once_one_goes_on<S: Subject>(subject: &S) {
    let (a, b, c) = (subject.operator().await, subject.operator().await, subject.operator().await);
    for _ in 0..5 {
        let (made, job) = ([repair(), repair(), repair()], job(Kind::Drop, Some(one())));
        let (first, second, third) = tokio::join!(
            refused(&c, &made[2], &job),
            refused(&b, &made[1], &job),
            refused(&a, &made[0], &job)
        );
        let begun = [third, second, first].into_iter().zip(&made).filter(|(seen, _)| seen.is_none());
        let begun: Vec<_> = begun.map(|(_, repair)| repair).collect();
        assert!(begun.len() <= 1, "{begun:?}");
        for repair in &begun {
            a.end(repair).await.unwrap();
        }
        for kept in a.kept(20).await.unwrap() {
            assert!(kept.ended, "{kept:?}");
        }
    }
}

/// Guards promise 3: a repair is continued once, and ends with that. What goes on with it begins at its place.
pub(super) async fn a_repair_is_continued_once<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let mut before = repair();
    assert_eq!(refused(&operator, &before, &job(Kind::Replay, None)).await, None);
    let reached = Reached { reached: 3, place: Some("cards 3 id".to_owned()), ..Reached::default() };
    operator.beat(&before, &reached).await.unwrap();
    before.result = Some(r#"{"moved":3,"stopped":"by you@host"}"#.to_owned());
    operator.end(&before).await.unwrap();

    let goes_on = Job { continues: Some(before.id), ..job(Kind::Replay, None) };
    let other = repair();
    assert_eq!(refused(&operator, &other, &job(Kind::Replay, None)).await, None);
    assert_eq!(refused(&operator, &repair(), &goes_on).await, Some(other.id));
    operator.end(&other).await.unwrap();
    let kept = operator.find(before.id).await.unwrap().unwrap();
    assert_eq!((kept.standing(), kept.continued_by()), (Standing::Stopped, None), "nothing went on with it");

    let next = repair();
    assert_eq!(refused(&operator, &next, &goes_on).await, None);
    let kept = operator.find(before.id).await.unwrap().unwrap();
    let told = (kept.standing(), kept.continued_by(), kept.changed());
    assert_eq!(told, (Standing::Ended, Some(next.id), Some(3)));
    let place = async |id| operator.find(id).await.unwrap().unwrap().progress.unwrap().place;
    assert_eq!(place(next.id).await.as_deref(), Some("cards 3 id"));
    let again = operator.start(&repair(), &Job { also: true, ..goes_on }, false).await;
    assert!(again.unwrap_err().problem.contains("was continued before"));

    // It was killed before it came further.
    let last = repair();
    let goes_on = Job { continues: Some(next.id), also: true, ..job(Kind::Replay, None) };
    assert_eq!(refused(&operator, &last, &goes_on).await, None);
    let kept = operator.find(next.id).await.unwrap().unwrap();
    assert_eq!((kept.standing(), kept.continued_by()), (Standing::Ended, Some(last.id)));
    assert_eq!(place(last.id).await.as_deref(), Some("cards 3 id"));
}

/// Guards promise 6: what dies after a repair began is not moved by it, and by the next one.
pub(super) async fn what_dies_later_is_not_moved<S: Subject>(subject: &S) {
    let before = buried(subject, &one(), 2).await;
    let mut operator = subject.operator().await;
    let Started::Begun { bound } =
        operator.start(&repair(), &job(Kind::Redrive, Some(one())), false).await.unwrap()
    else {
        panic!("nothing else runs")
    };
    buried(subject, &one(), 3).await;
    let bounded = Filter { dead_by: Some(bound), ..of_rpc(one()) };
    let mut events: Vec<_> =
        look(&mut operator, &bounded).await.into_iter().filter_map(|letter| letter.event).collect();
    operator.put_back().await;
    events.sort();
    assert_eq!(events, super::sorted(before));
    // Nor by one that is continued days later.
    let days_ago = Filter { dead_by: Some(bound - chrono::TimeDelta::days(3)), ..of_rpc(one()) };
    assert!(look(&mut operator, &days_ago).await.is_empty());
    operator.put_back().await;
    assert_eq!(listed(subject, &of_rpc(one())).await.len(), 5);
}

/// Guards promise 6: letters that are counted by the transport's clock are those that a later repair moves, however late it begins.
pub(super) async fn what_was_counted_is_what_is_moved<S: Subject>(subject: &S) {
    let before = buried(subject, &one(), 2).await;
    let mut operator = subject.operator().await;
    let dead_by = operator.now().await.unwrap();
    buried(subject, &one(), 3).await;
    let counted = Job { bound: Some(dead_by), ..job(Kind::Drop, Some(one())) };
    let Started::Begun { bound } = operator.start(&repair(), &counted, false).await.unwrap() else {
        panic!("nothing else runs")
    };
    assert_eq!(bound, dead_by);
    let bounded = Filter { dead_by: Some(bound), ..of_rpc(one()) };
    let letters = look(&mut operator, &bounded).await;
    operator.put_back().await;
    let events = super::sorted(letters.into_iter().filter_map(|letter| letter.event));
    assert_eq!(events, super::sorted(before));
}

/// Guards promise 8: what a repair moved and nobody has begun is dead again as it was. SQS can't do that, and says so.
pub(super) async fn what_has_not_begun_is_taken_back<S: Subject>(subject: &S) {
    let events = buried(subject, &one(), 3).await;
    let mut operator = subject.operator().await;
    let redrive = repair();
    assert_eq!(refused(&operator, &redrive, &job(Kind::Redrive, Some(one()))).await, None);
    let letters = look(&mut operator, &of_rpc(one())).await;
    operator.redrive(&redrive, &letters, false).await;
    operator.end(&redrive).await.unwrap();
    operator.put_back().await;
    let undo = super::begun(&operator, "outbox repair undo").await;
    let taken = operator.take_back(&undo, redrive.id).await.unwrap();
    // Where queues can be seen into.
    assert_eq!(taken, S::SEES_QUEUES.then_some(3));
    if taken.is_some() {
        assert_eq!(operator.take_back(&undo, redrive.id).await.unwrap(), Some(0));
        assert!(is_empty(subject, &one()).await);
        let letters = look(&mut operator, &of_rpc(one())).await;
        assert!(
            letters
                .iter()
                .all(|letter| (letter.code.as_str(), letter.reason.as_str()) == ("internal", "no card"))
        );
        assert_eq!(
            super::sorted(letters.into_iter().filter_map(|letter| letter.event)),
            super::sorted(events)
        );
    }
}
