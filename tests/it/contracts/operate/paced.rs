//! Repairs of many things: paused, resumed, and given another rate by others.

use chrono::Utc;
use outbox_event::EventId;
use outbox_transport::operate::{
    Asked, Audit, Change, Job, Kind, Paced, RATE_MAX, Reached, Repair, Repairs, Speed, Started,
};

use super::{Subject, one};

const ME: &str = "me@host";
const YOU: &str = "you@host";

fn repair() -> Repair {
    let (id, who) = (EventId::new().as_uuid(), ME.to_owned());
    Repair { id, at: Utc::now(), who, command: "outbox dlq redrive".to_owned(), result: None }
}

async fn begun<O: Repairs>(operator: &O, kind: Kind, rate: Option<u32>) -> Repair {
    let (made, rpc) = (repair(), Some(one()));
    let plan = vec!["dlq".to_owned(), "redrive".to_owned()];
    let job = Job { kind, rpc, plan, rate, continues: None, bound: None, older_than: None, also: false };
    let started = operator.start(&made, &job, false).await.unwrap();
    assert!(matches!(started, Started::Begun { .. }), "{started:?}");
    made
}

fn speed(rate: Option<u32>, rate_by: Option<&str>, paused_by: Option<&str>) -> Speed {
    let owned = |by: Option<&str>| by.map(str::to_owned);
    Speed { rate, rate_by: owned(rate_by), paused_by: owned(paused_by) }
}

/// Guards promise 8: a running repair hears at its beat which rate others gave it and who paused it, and all operators see that. A pause
/// keeps the rate, and the name of the first who paused it.
pub(super) async fn a_repair_is_paced_by_others<S: Subject>(subject: &S) {
    let (mine, others) = (subject.operator().await, subject.operator().await);
    let made = begun(&mine, Kind::Redrive, Some(50)).await;
    for (who, change, expected) in [
        (YOU, None, speed(Some(50), None, None)),
        (YOU, Some(Change::Rate(25)), speed(Some(25), Some(YOU), None)),
        (YOU, Some(Change::Pause), speed(Some(25), Some(YOU), Some(YOU))),
        (ME, Some(Change::Pause), speed(Some(25), Some(YOU), Some(YOU))),
        (ME, Some(Change::Rate(RATE_MAX)), speed(Some(RATE_MAX), Some(ME), Some(YOU))),
        (ME, Some(Change::Resume), speed(Some(RATE_MAX), Some(ME), None)),
        (YOU, Some(Change::Resume), speed(Some(RATE_MAX), Some(ME), None)),
        (ME, Some(Change::Pause), speed(Some(RATE_MAX), Some(ME), Some(ME))),
    ] {
        if let Some(change) = change {
            assert_eq!(others.pace(made.id, who, change).await.unwrap(), Asked::Asked, "{change:?}");
        }
        let heard = mine.beat(&made, &Reached::default()).await.unwrap();
        assert_eq!((heard.stop_by, &heard.speed), (None, &expected), "{change:?}");
        let kept = others.find(made.id).await.unwrap().unwrap();
        assert_eq!(kept.progress.unwrap().speed, expected, "{change:?}");
    }
    // A paused one is stopped as any other.
    assert_eq!(Repairs::stop(&others, made.id, YOU).await.unwrap(), Asked::Asked);
    let heard = mine.beat(&made, &Reached::default()).await.unwrap();
    assert_eq!((heard.stop_by.as_deref(), heard.speed.paused_by.as_deref()), (Some(YOU), Some(ME)));
}

/// Guards promise 8: what can't follow is not changed. A drop has no rate, no repair has a rate of zero, and one that has ended, or never
/// began, has no command.
pub(super) async fn what_can_not_be_paced_stays_as_it_is<S: Subject>(subject: &S) {
    let (mine, others) = (subject.operator().await, subject.operator().await);
    for change in [Change::Rate(25), Change::Pause, Change::Resume] {
        let asked = others.pace(EventId::new().as_uuid(), YOU, change).await.unwrap();
        assert_eq!(asked, Asked::Unknown, "{change:?}");
    }
    let drop = begun(&mine, Kind::Drop, None).await;
    assert!(!others.pace(drop.id, YOU, Change::Rate(25)).await.unwrap_err().unreachable);
    assert_eq!(mine.beat(&drop, &Reached::default()).await.unwrap().speed, Speed::default());
    assert_eq!(others.pace(drop.id, YOU, Change::Pause).await.unwrap(), Asked::Asked);
    let heard = mine.beat(&drop, &Reached::default()).await.unwrap();
    assert_eq!(heard.speed, speed(None, None, Some(YOU)));

    let redrive = begun(&mine, Kind::Redrive, Some(50)).await;
    for rate in [0, RATE_MAX + 1] {
        assert!(!others.pace(redrive.id, YOU, Change::Rate(rate)).await.unwrap_err().unreachable, "{rate}");
    }
    mine.end(&redrive).await.unwrap();
    for change in [Change::Rate(25), Change::Pause, Change::Resume] {
        assert_eq!(others.pace(redrive.id, YOU, change).await.unwrap(), Asked::Over, "{change:?}");
    }
    let kept = others.find(redrive.id).await.unwrap().unwrap();
    assert_eq!(kept.progress.unwrap().speed, speed(Some(50), None, None));
    // One without a beat has no command that would follow.
    let other = super::begun(&mine, "outbox queue retry").await;
    assert_eq!(others.pace(other.id, YOU, Change::Pause).await.unwrap(), Asked::Silent);
}
