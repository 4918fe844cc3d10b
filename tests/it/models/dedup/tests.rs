use stateright::Checker;

use super::*;
use crate::models::{breaks, holds};

/// Two deliveries of one worker and one of another.
fn dedup(store: Store, code: Code) -> Dedup {
    Dedup { deliveries: vec![0, 0, 1], receives_max: 3, deaths_max: 1, store, code }
}

const POSTGRES: Store = Store::Postgres { crashes_max: 1 };

/// Guards promise 3 on Postgres: a worker dies, the database crashes, leases end at any time.
#[test]
fn what_is_recorded_is_not_called_again_on_postgres() {
    let seen = holds(dedup(POSTGRES, Code::AsItIs));
    for happens in [LOST, GONE, TWICE] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards promise 3 on DynamoDB: answers are lost, and leases are requested again.
#[test]
fn what_is_recorded_is_not_called_again_on_dynamodb() {
    let seen = holds(dedup(Store::DynamoDb, Code::AsItIs));
    for happens in [LOST, TWICE] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards the token in `Dedup::complete`.
#[test]
fn completing_any_lease_would_not_fence() {
    use Step::{Complete, Expire, Lease, Receive, Succeed};
    let story = [Receive(0, 0), Lease(0), Expire, Receive(2, 0), Lease(2), Succeed(0), Complete(0)];
    breaks(dedup(POSTGRES, Code::CompletesAnyway), HOLDER_COMPLETES, &story);
}

/// Guards the token in `Dedup::release`: a late failure must not free the lease of a second worker for a third one.
#[test]
fn releasing_any_lease_would_not_fence() {
    use Step::{Expire, Fail, Lease, Receive, Release};
    let story = [
        &[Receive(0, 0), Lease(0), Expire, Receive(2, 0), Lease(2)][..],
        &[Fail(0), Release(0), Receive(0, 1), Lease(0)],
    ];
    breaks(dedup(POSTGRES, Code::ReleasesAnyway), ALONE, &story.concat());
}

/// Guards the order of record and ack.
#[test]
fn acking_first_would_leave_a_success_unrecorded() {
    use Step::{Ack, Lease, Receive, Succeed};
    let story = [Receive(0, 0), Lease(0), Succeed(0), Ack(0)];
    breaks(dedup(POSTGRES, Code::AcksFirst), ACKED_IS_RECORDED, &story);
}

/// Guards the condition of a lease: leases end, and recorded successes do not.
#[test]
fn leasing_a_recorded_success_would_call_again() {
    use Step::{Complete, Expire, Lease, Receive, Succeed};
    let story = [Receive(0, 0), Lease(0), Succeed(0), Complete(0), Expire, Receive(2, 1), Lease(2)];
    breaks(dedup(POSTGRES, Code::LeasesWhatIsDone), NOT_AGAIN, &story);
}

/// Guards the one commit of a worker that waits for the flush.
#[test]
fn recording_without_a_flush_would_call_again() {
    use Step::{Ack, Complete, Crash, Lease, Receive, Succeed};
    let story = [Receive(0, 0), Lease(0), Succeed(0), Complete(0), Ack(0), Crash, Receive(2, 1), Lease(2)];
    breaks(dedup(POSTGRES, Code::RecordsLater), NOT_AGAIN, &story);
}

/// Guards `Unrecorded`: the database may be away for longer than the lease.
#[test]
fn forgetting_a_success_before_its_record_would_call_again() {
    use Step::{Expire, Lease, Receive, Succeed};
    let story = [Receive(0, 0), Lease(0), Succeed(0), Expire, Receive(1, 0), Lease(1)];
    breaks(dedup(POSTGRES, Code::ForgetsSuccesses), KNOWS, &story);
}

/// Guards `fresh_until`, which is checked when a lease is answered and again before its call. The test also shows its limit:
/// a worker that pauses right after the check.
#[test]
fn a_pause_before_the_call_would_call_again() {
    use Step::{Call, Complete, Expire, Lease, Receive, Succeed};
    let story = [
        &[Receive(0, 0), Lease(0), Expire][..],
        &[Receive(2, 0), Lease(2), Call(2), Succeed(2), Complete(2), Call(0)],
    ];
    breaks(dedup(POSTGRES, Code::PausesBeforeTheCall), NOT_AGAIN, &story.concat());
}
