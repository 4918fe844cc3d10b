//! Tests what a function publishes, as a service's own test does: in a transaction that is rolled back.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example in_tests
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`; from a test, `outbox_schema::migrate`). In a service the body of
//! `main` stands in a `#[tokio::test]`.

use std::error::Error;

use outbox::EnqueueError;
use outbox::testing::{assert_enqueued, refute_enqueued};
use sample::proto::card::v1::CardTransactionSettledEvent;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection, PgTransaction};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let mut tx = conn.begin().await?;
    touch(&mut tx, "1").await?;

    // Both panic if they find something else.
    assert_enqueued(&mut tx, &HogeUpdatedEvent { hoge_id: "1".to_owned() }).await;
    refute_enqueued::<CardTransactionSettledEvent>(&mut tx).await;

    tx.rollback().await?;
    println!("published as expected");
    Ok(())
}

/// The function under test.
async fn touch(tx: &mut PgTransaction<'_>, id: &str) -> Result<(), EnqueueError> {
    outbox::enqueue(tx, &HogeUpdatedEvent { hoge_id: id.to_owned() }).await?;
    Ok(())
}
