//! Pauses and limits: as operators set them, and as workers read them.

use std::time::Duration;

use outbox_transport::operate::{Audit, Operator, SetBrakes};
use outbox_transport::{BRAKE_MAX, Brake, BrakeKind};

use super::{Subject, begun, one, other, stranger};

const HOUR: Duration = Duration::from_secs(3600);

fn limit(concurrency: Option<u32>, rate_per_second: Option<u32>) -> Brake {
    Brake::Limit { concurrency, rate_per_second }
}

/// As operators see them: RPC, brake, who and why.
async fn set(operator: &impl Operator) -> Vec<(String, Brake, String, String)> {
    let all = operator.brakes().await.unwrap();
    assert!(all.iter().all(|set| set.until.known() > set.since.known()), "{all:?}");
    all.into_iter().map(|set| (set.rpc, set.brake, set.who, set.why)).collect()
}

/// As workers read them, by RPC.
async fn read<S: Subject>(subject: &S) -> Vec<(String, Brake)> {
    let mut all: Vec<_> = subject.brakes().await.into_iter().map(|one| (one.rpc, one.brake)).collect();
    all.sort_by_key(|(rpc, brake)| (rpc.clone(), brake.kind().as_str()));
    all
}

/// Guards promises 6 and 8: workers read what is set and for how long, and operators see who set it and why. Another one of
/// the same kind replaces it. An RPC has a pause and a limit beside each other, with or without a queue.
pub(super) async fn a_brake_is_set_replaced_and_lifted<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    assert_eq!((set(&operator).await, read(subject).await), (vec![], vec![]));
    let repair = begun(&operator, "brakes").await;
    let awkward = "'; drop table outbox.brake; -- \u{1b}[31m \u{202e}\u{1f600}\n\"";
    operator.brake(&repair, &one(), Brake::Pause, BRAKE_MAX, "first").await.unwrap();
    operator.brake(&repair, &one(), Brake::Pause, HOUR, awkward).await.unwrap();
    operator.brake(&repair, &one(), limit(Some(2), None), HOUR, "slow").await.unwrap();
    operator.brake(&repair, &stranger(), limit(Some(64), Some(50)), HOUR, "fast").await.unwrap();
    let me = || "me@host".to_owned();
    assert_eq!(
        set(&operator).await,
        [
            (one().to_string(), Brake::Pause, me(), awkward.to_owned()),
            (one().to_string(), limit(Some(2), None), me(), "slow".to_owned()),
            (stranger().to_string(), limit(Some(64), Some(50)), me(), "fast".to_owned()),
        ]
    );
    assert_eq!(
        read(subject).await,
        [
            (one().to_string(), limit(Some(2), None)),
            (one().to_string(), Brake::Pause),
            (stranger().to_string(), limit(Some(64), Some(50))),
        ]
    );
    for braked in subject.brakes().await {
        assert!(braked.left <= HOUR && braked.left > HOUR - Duration::from_secs(600), "{braked:?}");
    }

    operator.brake(&repair, &stranger(), limit(None, Some(1)), HOUR, "slower").await.unwrap();
    assert!(operator.lift(&repair, &one(), BrakeKind::Pause).await.unwrap());
    assert!(!operator.lift(&repair, &one(), BrakeKind::Pause).await.unwrap(), "it was lifted before");
    assert!(!operator.lift(&repair, &other(), BrakeKind::Limit).await.unwrap(), "there was none");
    assert_eq!(
        read(subject).await,
        [(one().to_string(), limit(Some(2), None)), (stranger().to_string(), limit(None, Some(1)))]
    );
    for rpc in [one(), stranger()] {
        assert!(operator.lift(&repair, &rpc, BrakeKind::Limit).await.unwrap());
    }
    assert_eq!((set(&operator).await, read(subject).await), (vec![], vec![]));
    operator.end(&repair).await.unwrap();
}

/// Guards promise 6: a brake ends by itself, none lasts for ever, and one that has ended was not lifted.
pub(super) async fn a_brake_ends_by_itself<S: Subject>(subject: &S) {
    let operator = subject.operator().await;
    let repair = begun(&operator, "brakes").await;
    for time in [Duration::ZERO, BRAKE_MAX + HOUR, Duration::MAX] {
        operator.brake(&repair, &one(), Brake::Pause, time, "why").await.unwrap_err();
    }
    assert_eq!(read(subject).await, []);
    operator.brake(&repair, &one(), Brake::Pause, Duration::from_millis(1500), "why").await.unwrap();
    crate::world::until("it has ended", async || read(subject).await.is_empty()).await;
    assert_eq!(set(&operator).await, []);
    assert!(!operator.lift(&repair, &one(), BrakeKind::Pause).await.unwrap());
}
