//! A mistake in an event is found before SQL is sent, so the transaction stays usable.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example refused
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`).

use std::error::Error;

use outbox::{EnqueueError, Entry};
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let event = HogeUpdatedEvent { hoge_id: "1".to_owned() };
    let mut tx = conn.begin().await?;
    match Entry::new(&event).header("authorization", "Bearer …").enqueue(&mut tx).await {
        // The transaction is aborted: only a rollback is left.
        Err(error @ EnqueueError::Insert(_)) => return Err(error.into()),
        // The message names the event and the limit, and never the payload or a header's value.
        Err(error) => println!("refused: {error}"),
        Ok(id) => println!("published {id}"),
    }
    // The transaction is still usable.
    let id = outbox::enqueue(&mut tx, &event).await?;
    tx.commit().await?;
    println!("published {id}");
    Ok(())
}
