//! Leases and completions in batches, on a table behind the fault server: each statement succeeds or fails alone.

use std::sync::Arc;
use std::time::Duration;

use outbox_aws::DynamoDedup;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{Dedup, Kind, Lease, LeaseAnswer, Recorded};
use testkit::strict::Strict;

use crate::cloud::{Cloud, cloud, sdk};
use crate::contracts::{dedup_contract, failed, lost_of, release};

const TABLE: &str = "outbox-dedup";

/// A dedup record behind its own fault server.
struct Stand {
    strict: Arc<Strict>,
    client: aws_sdk_dynamodb::Client,
    dedup: DynamoDedup,
    /// The same record without the fault server.
    other: DynamoDedup,
}

impl Stand {
    async fn new(cloud: &Cloud) -> Self {
        let (strict, endpoint) = cloud.strict().await;
        let rpc = Rpc::new("Test/Batches").unwrap();
        let of = |config: &aws_config::SdkConfig| {
            DynamoDedup::new(aws_sdk_dynamodb::Client::new(config), TABLE, &rpc, Duration::from_secs(60))
        };
        let config = sdk(&endpoint);
        let client = aws_sdk_dynamodb::Client::new(&config);
        Self { strict, client, dedup: of(&config), other: of(&cloud.sdk()) }
    }

    fn asked(&self, operation: &str) -> usize {
        self.strict.asked().get(operation).copied().unwrap_or_default()
    }

    /// The numbers of batches and of single requests.
    fn requests(&self) -> [usize; 3] {
        ["BatchExecuteStatement", "PutItem", "UpdateItem"].map(|operation| self.asked(operation))
    }

    /// The request of the doctor.
    async fn may_write(&self) -> Result<(), outbox_aws::Failure> {
        outbox_aws::may_complete_batches(&self.client, TABLE).await
    }

    async fn win(&self, events: &[EventId]) -> Vec<Lease> {
        self.dedup.lease(events).await.unwrap().into_iter().map(won).collect()
    }
}

fn won(answer: LeaseAnswer) -> Lease {
    match answer {
        LeaseAnswer::Won(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn events(many: usize) -> Vec<EventId> {
    (0..many).map(|_| EventId::new()).collect()
}

/// Guards promise 3: batches keep the contract of the record also if a duplicate comes with the existing item.
#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_the_contract() {
    let Some(cloud) = cloud() else { return };
    let (strict, endpoint) = cloud.strict().await;
    strict.show_duplicates();
    let client = aws_sdk_dynamodb::Client::new(&sdk(&endpoint));
    let rpc = Rpc::new("Test/Batches").unwrap();
    let of = |lease| DynamoDedup::new(client.clone(), TABLE, &rpc, lease);
    dedup_contract(&of(Duration::from_secs(60)), &of(Duration::from_millis(300))).await;
    assert!(strict.asked()["BatchExecuteStatement"] > 0, "{:?}", strict.asked());
}

/// Guards: one request leases 25 records, and one completes them. Records that are done or held cost no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_holds_25_records() {
    let Some(cloud) = cloud() else { return };
    let stand = Stand::new(cloud).await;
    stand.strict.show_duplicates();
    let all = events(60);
    let leases = stand.win(&all).await;
    assert_eq!(stand.requests(), [3, 0, 0]);
    assert!(lost_of(&stand.dedup, &leases[..30]).await.is_empty());
    assert_eq!(stand.requests(), [5, 0, 0]);
    let again = stand.dedup.lease(&all).await.unwrap();
    assert!(again[..30].iter().all(|answer| *answer == LeaseAnswer::Done), "{again:?}");
    assert!(again[30..].iter().all(|answer| matches!(answer, LeaseAnswer::Held { .. })), "{again:?}");
    assert_eq!(stand.requests(), [8, 0, 0]);
}

/// Guards promise 3: the worker recognises its own lease, though the answer was lost or has no result for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_is_lost_is_ours() {
    let Some(cloud) = cloud() else { return };
    for shows in [true, false] {
        let stand = Stand::new(cloud).await;
        if shows {
            stand.strict.show_duplicates();
        }
        stand.strict.lose_batches(1);
        let leases = stand.win(&events(10)).await;
        assert!(lost_of(&stand.dedup, &leases).await.is_empty(), "the tokens are those of the record");
        stand.strict.cut_batches(1);
        let leases = stand.win(&events(10)).await;
        assert!(lost_of(&stand.other, &leases).await.is_empty(), "the tokens are those of the record");
        assert_eq!(stand.strict.still_to_fail(), 0);
    }
}

/// Guards promise 6: a statement that is throttled, or has another passing failure, is repeated alone. The others of its
/// batch are not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn one_statement_that_fails_is_asked_again_alone() {
    let Some(cloud) = cloud() else { return };
    let stand = Stand::new(cloud).await;
    for code in [
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "InternalServerError",
        "TransactionConflict",
        "SomethingNew",
    ] {
        let all = events(10);
        let before = stand.requests();
        stand.strict.fail_statement(&all[3].to_string(), code);
        let leases = stand.win(&all).await;
        assert_eq!(stand.requests(), [before[0] + 2, before[1], before[2]], "{code}");

        stand.strict.fail_statement(&all[7].to_string(), code);
        let recorded = stand.dedup.complete(&leases).await;
        let mut others = recorded.iter().enumerate().filter(|(at, _)| *at != 7);
        assert!(others.all(|(_, recorded)| *recorded == Ok(Recorded::Written)), "{code}: {recorded:?}");
        let error = recorded[7].as_ref().unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.kind),
            (code, if code == "SomethingNew" { Kind::Refused } else { Kind::Away })
        );
        assert!(lost_of(&stand.dedup, &leases[7..8]).await.is_empty());
        assert_eq!(stand.requests(), [before[0] + 4, before[1], before[2]], "{code}");
    }
    assert_eq!(stand.strict.still_to_fail(), 0);
}

/// Guards promise 6: a record that stays throttled does not affect the others of its batch. They are leased, and its event is
/// not called.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_stays_throttled_costs_its_neighbours_nothing() {
    let Some(cloud) = cloud() else { return };
    let stand = Stand::new(cloud).await;
    let all = events(5);
    for _ in 0..3 {
        stand.strict.fail_statement(&all[0].to_string(), "ThrottlingError");
    }
    let answers = stand.dedup.lease(&all).await.unwrap();
    assert!(matches!(answers[0], LeaseAnswer::Held { .. }), "{answers:?}");
    assert!(answers[1..].iter().all(|answer| matches!(answer, LeaseAnswer::Won(_))), "{answers:?}");
    assert_eq!(stand.strict.still_to_fail(), 0);
}

/// Guards promise 3: in a batch, too, a lost lease completes nothing. A success whose answer was lost is written once.
#[tokio::test(flavor = "multi_thread")]
async fn completions_in_a_batch_are_fenced() {
    let Some(cloud) = cloud() else { return };
    let stand = Stand::new(cloud).await;
    let all = events(4);
    let leases = stand.win(&all).await;
    // Another worker has the second lease, and has completed the third.
    release(&stand.other, &[failed(leases[1]), failed(leases[2])]).await;
    let theirs: Vec<Lease> = stand.other.lease(&all[1..3]).await.unwrap().into_iter().map(won).collect();
    assert!(lost_of(&stand.other, &theirs[1..]).await.is_empty());
    stand.strict.lose_batches(1);
    let recorded = stand.dedup.complete(&leases).await;
    assert!(
        recorded.iter().all(|one| one.as_ref().is_err_and(|error| error.kind == Kind::Away)),
        "{recorded:?}"
    );
    let recorded = stand.dedup.complete(&leases).await;
    let expected = [Recorded::Written, Recorded::Lost, Recorded::Written, Recorded::Written].map(Ok);
    assert_eq!(recorded, expected);
    assert_eq!(stand.strict.still_to_fail(), 0);
    assert!(lost_of(&stand.other, &theirs[..1]).await.is_empty(), "the token of its lease is still there");
}

/// Guards promise 3: two successes of one event, and more successes than one batch takes, are recorded. DynamoDB would
/// refuse a batch that has an item twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_stands_once_in_a_batch() {
    let Some(cloud) = cloud() else { return };
    let stand = Stand::new(cloud).await;
    let leases = stand.win(&events(26)).await;
    let copies = leases.iter().chain(&leases[..3]).enumerate();
    let copies: Vec<Lease> =
        copies.map(|(at, lease)| if at < 26 { *lease } else { Lease { token: 7, ..*lease } }).collect();
    let before = stand.requests();
    assert!(lost_of(&stand.dedup, &copies).await.is_empty());
    assert_eq!(stand.requests(), [before[0] + 2, before[1], before[2]]);
    let twice = stand.dedup.lease(&[leases[0].event, leases[0].event]).await.unwrap();
    assert_eq!(twice, [LeaseAnswer::Done, LeaseAnswer::Done]);
}

/// Guards: a role of an older `infra/` may not write batches. Then each record costs its own request, as before, and batches
/// are not tried each time.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_batches_each_record_is_written_alone() {
    let Some(cloud) = cloud() else { return };
    for action in ["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"] {
        let stand = Stand::new(cloud).await;
        assert_eq!(stand.may_write().await, Ok(()));
        stand.strict.deny(action, TABLE, true);
        for _ in 0..3 {
            let leases = stand.win(&events(10)).await;
            assert!(lost_of(&stand.dedup, &leases).await.is_empty());
        }
        let insert = action.ends_with("Insert");
        let expected = if insert { [2, 30, 30] } else { [3, 20, 30] };
        assert_eq!(stand.requests(), expected, "{action}");
        if !insert {
            assert_eq!(stand.may_write().await.unwrap_err().code, "AccessDenied");
        }
    }
}
