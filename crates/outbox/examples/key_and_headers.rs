//! Gives an event another key than its own, and a header for its RPCs.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example key_and_headers
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`).
//!
//! A header reaches the RPC only if the worker's operator allows its name: here `worker --header-prefix acme-`.

use std::error::Error;

use outbox::Entry;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let event = HogeUpdatedEvent { hoge_id: "1".to_owned() };
    let mut tx = conn.begin().await?;

    // Its own key is the field that proto marks with `(outbox.key)`: here `hoge_id`.
    let own = Entry::new(&event);
    // Events with the key `customer-7` stay in order among each other.
    let given = Entry::new(&event).key("customer-7").header("acme-tenant", "t-1");

    // The id is known before the insert.
    println!("publishing {} and {}", own.id(), given.id());
    own.enqueue(&mut tx).await?;
    given.enqueue(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
