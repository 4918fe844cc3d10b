use stateright::Checker;

use super::Step::*;
use super::*;
use crate::models::{breaks, holds};

/// Two deliveries of one worker, and one delivery of another.
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

/// Guards promises 2 and 3 on Postgres: the log and the rows share one record. Workers are killed, and leases and claims end
/// at any time.
#[test]
fn a_claim_is_a_lease() {
    let seen = holds(Batches { deliveries: vec![0, 1], crashes_max: 0, ..batches(Code::AsItIs) });
    for happens in [TWICE, LOST, LATE, LEFT_OUT, FOUND] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards promises 2 and 3 on Postgres, while the database crashes and loses claims.
#[test]
fn a_claim_is_a_lease_where_a_crash_takes_it_back() {
    let seen =
        holds(Batches { deliveries: vec![0, 1], receives_max: 2, deaths_max: 0, ..batches(Code::AsItIs) });
    for happens in [LOST, LATE, LEFT_OUT, FOUND] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards promise 3: `outbox.lease` reads the open claims.
#[test]
fn leasing_what_is_claimed_would_call_beside_its_claim() {
    let story = [Receive(0), Redrive, Take(2), Lease(2)];
    breaks(batches(Code::LeasesWhatIsClaimed), ALONE, &story);
}

/// Guards promise 3: receipts and claims are read in one snapshot. A claim may be closed between two reads.
#[test]
fn looking_for_receipts_first_would_call_again() {
    let story = [
        &[Receive(0), Redrive, Take(2), Look(2)][..],
        &[Succeed(0), Complete(0), Settle(0), Close(1), Lease(2)],
    ];
    breaks(batches(Code::LooksForReceiptsFirst), NOT_AGAIN, &story.concat());
}

/// Guards promise 3: `outbox.receive` reads the rows.
#[test]
fn a_batch_that_ignores_rows_would_call_beside_them() {
    let story = [Redrive, Take(0), Lease(0), Receive(2)];
    breaks(batches(Code::ClaimsWhatRowsHave), ALONE, &story);
}

/// Guards promise 3: `outbox.receive` reads the receipts, because an event may be in the log twice.
#[test]
fn a_batch_that_ignores_receipts_would_call_again() {
    let story = [Receive(0), Succeed(0), Complete(0), Settle(0), Close(1), Receive(2)];
    breaks(batches(Code::ClaimsWhatIsDone), NOT_AGAIN, &story);
}

/// Guards promise 3: `outbox.receive` reads the other open claims.
#[test]
fn a_batch_that_ignores_other_claims_would_call_beside_them() {
    breaks(batches(Code::ClaimsWhatIsClaimed), ALONE, &[Receive(0), Receive(2)]);
}

/// Guards promise 3: `outbox.record` checks the token of an open claim in the transaction that writes the receipt.
#[test]
fn a_receipt_without_its_claim_would_not_fence() {
    let story = [&[Receive(0), Succeed(0), Recover(1), Expire(1)][..], &[Take(2), Lease(2), Complete(0)]];
    breaks(batches(Code::RecordsWithoutItsClaim), HOLDER_COMPLETES, &story.concat());
}

/// Guards promise 3: `outbox.record_rows` reads the open claims. A crash may lose a claim, and its batch is claimed again.
#[test]
fn a_late_record_past_another_claim_would_not_fence() {
    let story = [Receive(0), Succeed(0), Crash, Receive(2), Complete(0), CompleteLate(0)];
    breaks(batches(Code::RecordsPastClaims), HOLDER_COMPLETES, &story);
}

/// Guards promise 3: `outbox.record_rows` reads the open claims itself. Another worker may claim the batch after `outbox.record`.
#[test]
fn a_late_record_that_looked_before_would_not_fence() {
    let story = [Receive(0), Succeed(0), Crash, Complete(0), Receive(2), CompleteLate(0)];
    breaks(batches(Code::LooksForClaimsFirst), HOLDER_COMPLETES, &story);
}

/// Guards promise 3: `outbox.release` checks the claim. A row decides about the lease, so only the claim's worker writes it.
#[test]
fn a_row_of_a_lost_claim_would_let_a_third_one_in() {
    let story = [&[Receive(0), Crash, Fail(0), Receive(2), Release(0)][..], &[Redrive, Take(1), Lease(1)]];
    breaks(batches(Code::ReleasesWithoutItsClaim), ALONE, &story.concat());
}

/// Guards promise 3: `outbox.settle` keeps leases when it closes a claim. A call that was given up may still have its effect.
#[test]
fn a_closed_claim_would_end_the_lease_of_a_call() {
    let story = [Receive(0), GiveUp(0), Settle(0), Close(1), Take(2), Lease(2)];
    breaks(batches(Code::ClosesLeases), ALONE, &story);
}

/// Guards promise 3: `outbox.record` closes no claim whose batch has a row in `outbox.retry`, because it keeps no leases.
#[test]
fn a_receipt_that_closes_past_a_retry_would_end_the_lease_of_a_call() {
    let story = [Receive(0), GiveUp(0), Settle(0), RecordCloses(1), Take(2), Lease(2)];
    breaks(batches(Code::RecordsPastRetries), ALONE, &story);
}

/// Guards promise 3: `outbox.recover` keeps leases. A worker without a connection may still be calling.
#[test]
fn a_recovered_claim_would_end_its_leases() {
    breaks(batches(Code::RecoversAtOnce), ALONE, &[Receive(0), Recover(1), Take(2), Lease(2)]);
}

/// Guards promise 3: `outbox.keep_leases` reads earlier claims. A claim with a copy may end while the first one is called.
#[test]
fn a_claim_that_keeps_what_others_lease_would_let_a_third_one_in() {
    let story = [Receive(0), Receive(2), Recover(2), Expire(2), Take(1), Lease(1)];
    breaks(batches(Code::KeepsWhatOthersLease), ALONE, &story);
}

/// Guards promise 3: the commit of a receipt waits for the flush.
#[test]
fn a_receipt_without_a_flush_would_call_again() {
    let story = [Receive(0), Succeed(0), Complete(0), Crash, Receive(2)];
    breaks(batches(Code::RecordsLater), NOT_AGAIN, &story);
}

/// Guards promise 2: successes are recorded before they are settled. A closed claim leaves no trace of them.
#[test]
fn settling_first_would_lose_a_success() {
    let story = [&[Receive(0), Succeed(0), Settle(0), Close(1)][..], &[Receive(1), Settle(1), Close(2)]];
    breaks(batches(Code::SettlesFirst), NOT_LOST, &story.concat());
}
