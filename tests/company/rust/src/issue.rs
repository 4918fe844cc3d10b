//! Issues a card, and publishes that in the same transaction.

use std::error::Error;

use sqlx::{Connection, PgConnection};

use crate::proto::acme::card::v1::card_issued_event::Holder;
use crate::proto::acme::card::v1::{CardIssuedEvent, CardKind};

pub async fn issue(card_id: &str, roll_back: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let mut tx = conn.begin().await?;
    sqlx::query("insert into card (id) values ($1)").bind(card_id).execute(&mut *tx).await?;
    let labels = [("team", "blue"), ("plan/a", "gold")];
    let event = CardIssuedEvent {
        card_id: card_id.to_owned(),
        issued_at: Some(prost_types::Timestamp { seconds: 1_795_611_727, nanos: 500_000_000 }),
        kind: CardKind::Virtual.into(),
        holder: Some(Holder::Person("Jürgen".to_owned())),
        limit_minor: 9_007_199_254_740_993,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let id = outbox::enqueue(&mut tx, &event).await?;
    if roll_back {
        tx.rollback().await?;
        println!("rolled back {id}");
    } else {
        tx.commit().await?;
        println!("published {id}");
    }
    Ok(())
}
