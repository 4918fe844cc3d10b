//! How a service tests what it publishes: in a transaction that is rolled back at the end.

use outbox::testing::{assert_enqueued, refute_enqueued};
use sample::card;
use sample::proto::card::v1::CardTransactionSettledEvent;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection};
use testkit::cluster::Cluster;

/// Guards: a settled transaction is in the service's own table and in the outbox, both or neither.
#[tokio::test]
async fn settling_publishes_with_the_change() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let mut conn = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    card::create_table(&mut conn).await.unwrap();

    let settled = CardTransactionSettledEvent {
        transaction_id: "t-1".into(),
        card_id: "c-1".into(),
        merchant: "Café".into(),
        amount_minor: 9_007_199_254_740_993,
        currency: "JPY".into(),
    };
    let mut tx = conn.begin().await.unwrap();
    card::settle(&mut tx, &settled).await.unwrap();
    assert_enqueued(&mut tx, &settled).await;
    refute_enqueued::<HogeUpdatedEvent>(&mut tx).await;
    tx.rollback().await.unwrap();

    let mut tx = conn.begin().await.unwrap();
    refute_enqueued::<CardTransactionSettledEvent>(&mut tx).await;
    let rows: i64 =
        sqlx::query_scalar("select count(*) from card_transaction").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(rows, 0);
}

/// Guards: an error says which of the two writes failed, the service's own or the outbox's.
#[tokio::test]
async fn an_error_says_which_write_failed() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let mut conn = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    let settled = CardTransactionSettledEvent { transaction_id: "t-1".into(), ..Default::default() };

    let mut tx = conn.begin().await.unwrap();
    let error = card::settle(&mut tx, &settled).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to write the card transaction");
    tx.rollback().await.unwrap();

    card::create_table(&mut conn).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let error = card::settle(&mut tx, &settled).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to publish that the card transaction is settled");
}

/// Guards: the proto's key is the event's key, and its JSON is proto3's.
#[tokio::test]
async fn the_outbox_has_the_events_key_and_payload() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let mut conn = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    outbox::enqueue(&mut tx, &HogeUpdatedEvent { hoge_id: "hoge-1".into() }).await.unwrap();
    let row: (String, Option<String>, String) =
        sqlx::query_as("select name, key, payload from outbox.event").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(row, ("event_hoge_updated".into(), Some("hoge-1".into()), r#"{"hogeId":"hoge-1"}"#.into()));
}
