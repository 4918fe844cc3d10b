//! Publishes many events, of different types, with one statement.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example many
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`).

use std::error::Error;

use outbox::Entry;
use sample::proto::card::v1::CardTransactionSettledEvent;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let mut entries: Vec<Entry> =
        (1..=99).map(|n| Entry::new(HogeUpdatedEvent { hoge_id: n.to_string() })).collect();
    entries.push(Entry::new(CardTransactionSettledEvent {
        transaction_id: "t-1".to_owned(),
        card_id: "c-1".to_owned(),
        merchant: "Corner Bakery".to_owned(),
        amount_minor: 480,
        currency: "JPY".to_owned(),
    }));

    let mut tx = conn.begin().await?;
    // The ids have the order of the entries. If one entry is refused, none is inserted.
    let ids = outbox::enqueue_all(&mut tx, entries).await?;
    tx.commit().await?;
    println!("published {}", ids.len());
    Ok(())
}
