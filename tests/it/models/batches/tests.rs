use stateright::Checker;

use super::Step::*;
use super::*;
use crate::models::{breaks, holds};

/// Two deliveries of one worker and one of another.
fn batches(code: Code) -> Batches {
    Batches {
        deliveries: vec![0, 0, 1],
        receives_max: 3,
        redrives_max: 1,
        deaths_max: 1,
        crashes_max: 1,
        code,
    }
}

/// Guards promises 2 and 3 on Postgres: the log and the rows share one record. Workers die, the database crashes, leases and
/// claims end at any time.
#[test]
fn a_claim_is_a_lease() {
    let seen = holds(Batches { deliveries: vec![0, 1], crashes_max: 0, ..batches(Code::AsItIs) });
    for happens in [TWICE, LOST, LATE, LEFT_OUT, FOUND] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards the same while the database crashes and takes claims back.
#[test]
fn a_claim_is_a_lease_where_a_crash_takes_it_back() {
    let seen =
        holds(Batches { deliveries: vec![0, 1], receives_max: 2, deaths_max: 0, ..batches(Code::AsItIs) });
    for happens in [LOST, LATE, LEFT_OUT, FOUND] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards the look at open claims in `outbox.lease`.
#[test]
fn leasing_what_is_claimed_would_call_beside_its_claim() {
    let story = [Receive(0), Redrive, Take(2), Lease(2)];
    breaks(batches(Code::LeasesWhatIsClaimed), ALONE, &story);
}

/// Guards the order in `outbox.known`: a claim may be closed after a look for its receipt, and before a look for claims.
#[test]
fn looking_for_receipts_first_would_call_again() {
    let story = [
        &[Receive(0), Redrive, Take(2), Look(2)][..],
        &[Succeed(0), Complete(0), Settle(0), Close(1), Lease(2)],
    ];
    breaks(batches(Code::LooksForReceiptsFirst), NOT_AGAIN, &story.concat());
}

/// Guards the look at rows in `outbox.receive`.
#[test]
fn a_batch_that_ignores_rows_would_call_beside_them() {
    let story = [Redrive, Take(0), Lease(0), Receive(2)];
    breaks(batches(Code::ClaimsWhatRowsHave), ALONE, &story);
}

/// Guards the look at receipts in `outbox.receive`: an event may stand in the log twice.
#[test]
fn a_batch_that_ignores_receipts_would_call_again() {
    let story = [Receive(0), Succeed(0), Complete(0), Settle(0), Close(1), Receive(2)];
    breaks(batches(Code::ClaimsWhatIsDone), NOT_AGAIN, &story);
}

/// Guards the look at the other open claims in `outbox.receive`.
#[test]
fn a_batch_that_ignores_other_claims_would_call_beside_them() {
    breaks(batches(Code::ClaimsWhatIsClaimed), ALONE, &[Receive(0), Receive(2)]);
}

/// Guards the token in `outbox.record`: a receipt is written under an open claim, in one transaction.
#[test]
fn a_receipt_without_its_claim_would_not_fence() {
    let story = [&[Receive(0), Succeed(0), Recover(1), Expire(1)][..], &[Take(2), Lease(2), Complete(0)]];
    breaks(batches(Code::RecordsWithoutItsClaim), HOLDER_COMPLETES, &story.concat());
}

/// Guards the look at open claims in `outbox.record_rows`: a crash took back a claim, and its batch was claimed again.
#[test]
fn a_late_record_past_another_claim_would_not_fence() {
    let story = [Receive(0), Succeed(0), Crash, Receive(2), Complete(0)];
    breaks(batches(Code::RecordsPastClaims), HOLDER_COMPLETES, &story);
}

/// Guards the look at the claim in `outbox.release`: a row says who has the lease, so only the holder may make it.
#[test]
fn a_row_of_a_lost_claim_would_let_a_third_one_in() {
    let story = [&[Receive(0), Crash, Fail(0), Receive(2), Release(0)][..], &[Redrive, Take(1), Lease(1)]];
    breaks(batches(Code::ReleasesWithoutItsClaim), ALONE, &story.concat());
}

/// Guards the leases that `outbox.settle` keeps as it closes a claim: a call that was given up may still have its effect.
#[test]
fn a_closed_claim_would_end_the_lease_of_a_call() {
    let story = [Receive(0), GiveUp(0), Settle(0), Close(1), Take(2), Lease(2)];
    breaks(batches(Code::ClosesLeases), ALONE, &story);
}

/// Guards the leases that `outbox.recover` keeps: a worker without a connection may still be calling.
#[test]
fn a_recovered_claim_would_end_its_leases() {
    breaks(batches(Code::RecoversAtOnce), ALONE, &[Receive(0), Recover(1), Take(2), Lease(2)]);
}

/// Guards the look at earlier claims in `outbox.keep_leases`: a batch with a copy ended, while the first is called.
#[test]
fn a_claim_that_keeps_what_others_lease_would_let_a_third_one_in() {
    let story = [Receive(0), Receive(2), Recover(2), Expire(2), Take(1), Lease(1)];
    breaks(batches(Code::KeepsWhatOthersLease), ALONE, &story);
}

/// Guards the one commit of a worker that waits for the flush.
#[test]
fn a_receipt_without_a_flush_would_call_again() {
    let story = [Receive(0), Succeed(0), Complete(0), Crash, Receive(2)];
    breaks(batches(Code::RecordsLater), NOT_AGAIN, &story);
}

/// Guards the order of record and settlement: a claim that is closed first leaves nothing behind.
#[test]
fn settling_first_would_lose_a_success() {
    let story = [&[Receive(0), Succeed(0), Settle(0), Close(1)][..], &[Receive(1), Settle(1), Close(2)]];
    breaks(batches(Code::SettlesFirst), NOT_LOST, &story.concat());
}
