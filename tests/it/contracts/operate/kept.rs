//! The audit, and an RPC's refusals that are poison.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{Audit, DeadLetters, Deliveries, Filter, Kept, Queues, Repair, Repaired};
use serde_json::json;

use super::{LONG, Subject, begun, buried, done, is_empty, lease, listed, look, message, of_rpc, one, other};

fn repair(at: DateTime<Utc>, command: &str) -> Repair {
    let (id, who) = (EventId::new().as_uuid(), "me@host".to_owned());
    Repair { id, at, who, command: command.to_owned(), result: None }
}

async fn kept<S: Subject>(subject: &S, limit: u32) -> Vec<Kept> {
    subject.operator().await.kept(limit).await.unwrap()
}

/// Guards promise 8: repairs are listed, the newest first and no more than asked for, with who made them and as they were
/// typed, whatever text that is.
pub(super) async fn repairs_are_kept_newest_first<S: Subject>(subject: &S) {
    assert!(kept(subject, 10).await.is_empty());
    let operator = subject.operator().await;
    let awkward =
        "outbox dlq drop --code \"'; drop table outbox.audit; --\" \u{1b}[31m \u{202e}\u{1f600}\n\t#:";
    let commands = ["outbox dlq redrive --all", awkward, "outbox poison --rpc Test/One", "outbox replay"];
    for (ago, command) in (0..4).rev().zip(commands) {
        // In two hours' items, on the hour or not.
        let repair = repair(Utc::now() - TimeDelta::minutes(30 * ago), command);
        operator.begin(&repair, ago % 2 == 0).await.unwrap();
        let result = Some(json!({"moved": ago, "said": awkward}).to_string());
        operator.end(&Repair { result, ..repair }).await.unwrap();
    }
    let all = kept(subject, 10).await;
    let typed: Vec<&str> = all.iter().map(|kept| kept.command.as_str()).collect();
    assert_eq!(typed, commands.into_iter().rev().collect::<Vec<_>>());
    for (ago, one) in all.iter().enumerate() {
        assert_eq!(
            (one.who.as_str(), &one.result),
            ("me@host", &Some(json!({"moved": ago, "said": awkward})))
        );
        assert!(!one.source.is_empty() && one.at.known().is_some(), "{one:?}");
        assert_eq!(one.role.is_some(), S::NEEDS_AUDIT);
    }
    assert_eq!(kept(subject, 2).await, all[..2]);
    let long = format!("outbox dlq drop {}", "x".repeat(5000));
    operator.begin(&repair(Utc::now(), &long), false).await.unwrap();
    let newest = kept(subject, 1).await.remove(0);
    assert!(newest.command.len() >= 2000 && long.starts_with(&newest.command), "{}", newest.command.len());
}

/// Guards promise 8: a repair that changes nothing, or only a part, is kept with its result; one that is kept counts what it
/// moved, and a result is what the command says, not a guess.
pub(super) async fn a_repair_is_kept_whatever_came_of_it<S: Subject>(subject: &S) {
    let mut operator = subject.operator().await;
    let nothing = begun(&operator, "finds nothing").await;
    assert!(look(&mut operator, &Filter::default()).await.is_empty());
    let result = Some(json!({"moved": 0}).to_string());
    operator.end(&Repair { result, ..nothing }).await.unwrap();

    let failed = begun(&operator, "fails").await;
    assert!(!operator.poison(&failed, &Rpc::new("Test/Nobody").unwrap(), LONG).await.unwrap());
    let result = Some(json!("there is no queue of Test/Nobody").to_string());
    operator.end(&Repair { result, ..failed }).await.unwrap();

    let silent = begun(&operator, "says nothing").await;
    operator.end(&silent).await.unwrap();

    let [silent, failed, nothing] = &kept(subject, 10).await[..] else { panic!("three were made") };
    assert!([silent, failed, nothing].iter().all(|one| one.ended), "{silent:?} {failed:?} {nothing:?}");
    assert_eq!((silent.command.as_str(), &silent.result), ("says nothing", &None));
    assert_eq!((nothing.command.as_str(), &nothing.result), ("finds nothing", &Some(json!({"moved": 0}))));
    assert_eq!(
        (failed.command.as_str(), &failed.result),
        ("fails", &Some(json!("there is no queue of Test/Nobody")))
    );
}

/// Guards promise 8: a repair that has not ended, because it goes on or was killed, is kept from its beginning, and can be
/// told from one that has.
pub(super) async fn a_repair_that_has_not_ended_says_so<S: Subject>(subject: &S) {
    buried(subject, &one(), 2).await;
    let mut operator = subject.operator().await;
    let killed = begun(&operator, "killed").await;
    let letters = look(&mut operator, &Filter::default()).await;
    let moved = operator.take_away(&killed, &letters).await;
    assert_eq!(super::tally(&moved), super::all_of(&Repaired::Moved, 2));
    let mut newest = kept(subject, 1).await.remove(0);
    assert_eq!((newest.command.as_str(), newest.ended), ("killed", false));
    // How much it had changed is known where it is counted with each change.
    assert_eq!(newest.result, S::NEEDS_AUDIT.then(|| json!({"changed": 2})));
    let result = Some(json!({"moved": 2}).to_string());
    operator.end(&Repair { result, ..killed }).await.unwrap();
    newest = kept(subject, 1).await.remove(0);
    assert_eq!((newest.ended, newest.result), (true, Some(json!({"moved": 2}))));
}

/// Guards promise 8: where the store itself counts repairs, nothing is changed without one, by one that has ended, or by one
/// that was begun twice. Elsewhere the command alone keeps the audit.
pub(super) async fn without_a_repair_nothing_is_changed<S: Subject>(subject: &S) {
    let events = buried(subject, &one(), 2).await;
    let was_done = EventId::new();
    done(subject, was_done, &one()).await;
    let mut operator = subject.operator().await;
    let never = repair(Utc::now(), "never begun");
    let ended = begun(&operator, "ended").await;
    operator.end(&ended).await.unwrap();
    let letters = look(&mut operator, &Filter::default()).await;
    assert_eq!(letters.len(), events.len());
    if !S::NEEDS_AUDIT {
        let moved = operator.redrive(&never, &letters, false).await;
        assert_eq!(super::tally(&moved), super::all_of(&Repaired::Moved, events.len()));
        return;
    }
    for unfit in [&never, &ended] {
        // One failure for all.
        for answers in
            [operator.redrive(unfit, &letters, true).await, operator.take_away(unfit, &letters).await]
        {
            let [Err(error)] = &answers[..] else { panic!("{answers:?}") };
            assert!(error.problem.contains("was not begun by") && !error.remedy.is_empty(), "{error:?}");
        }
        let answers = operator.replay(unfit, &[message(was_done, &one())], true).await;
        assert!(matches!(answers[..], [Err(_)]), "{answers:?}");
        operator.poison(unfit, &one(), LONG).await.unwrap_err();
        operator.end(unfit).await.unwrap_err();
    }
    operator.begin(&ended, false).await.unwrap_err();
    assert_eq!(listed(subject, &Filter::default()).await.len(), events.len());
    assert!(is_empty(subject, &one()).await);
    assert_eq!(lease(subject, was_done, &one(), LONG).await, outbox_transport::LeaseAnswer::Done);
    assert_eq!(subject.poison_for(&one()).await, None);
}

/// Guards promise 6: where the audit can't be written, nothing begins that can't be undone. What can be undone goes on where the
/// command alone keeps the audit: nobody is kept from delivering because of it.
pub(super) async fn without_an_audit_only_what_can_be_undone_begins<S: Subject>(subject: &S) {
    buried(subject, &one(), 1).await;
    let mut operator = subject.operator_without_audit().await;
    let redrive = repair(Utc::now(), "redrive");
    let error = operator.begin(&redrive, false).await.unwrap_err();
    assert!(!error.problem.is_empty() && !error.remedy.is_empty(), "{error:?}");
    let begun = operator.begin(&redrive, true).await;
    assert_eq!(begun.is_err(), S::NEEDS_AUDIT, "{begun:?}");
    operator.end(&redrive).await.unwrap_err();
    operator.kept(1).await.unwrap_err();
    if begun.is_ok() {
        let letters = look(&mut operator, &of_rpc(one())).await;
        let moved = operator.redrive(&redrive, &letters, false).await;
        assert_eq!(super::tally(&moved), super::all_of(&Repaired::Moved, 1));
        operator.put_back().await;
    }
    assert_eq!(listed(subject, &Filter::default()).await.len(), usize::from(S::NEEDS_AUDIT));
}

/// Guards promise 6: that an RPC's refusals are poison is heard by its workers for so long, is taken back by zero, and is of
/// one RPC.
pub(super) async fn poison_is_said_and_taken_back<S: Subject>(subject: &S) {
    const HOUR: Duration = Duration::from_secs(3600);
    const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
    let operator = subject.operator().await;
    let repair = begun(&operator, "poison").await;
    assert_eq!(subject.poison_for(&one()).await, None);
    for time in [HOUR, MONTH, HOUR] {
        assert!(operator.poison(&repair, &one(), time).await.unwrap());
        let left = subject.poison_for(&one()).await.unwrap();
        assert!(left <= time && left > time - Duration::from_secs(600), "{left:?} of {time:?}");
        assert_eq!(subject.poison_for(&other()).await, None);
    }
    for too_long in [MONTH + HOUR, Duration::MAX] {
        operator.poison(&repair, &one(), too_long).await.unwrap_err();
    }
    assert!(subject.poison_for(&one()).await.unwrap() <= HOUR, "a time that was refused is not said");
    assert!(operator.poison(&repair, &one(), Duration::ZERO).await.unwrap());
    assert_eq!(subject.poison_for(&one()).await, None);
    let nobody = operator.poison(&repair, &Rpc::new("Test/Nobody").unwrap(), HOUR).await.unwrap();
    assert!(!nobody, "it has no queue");
}
