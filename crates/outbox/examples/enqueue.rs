//! Publishes an event in the transaction that makes the change.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example enqueue
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`). The table `hoge` is temporary: nothing of it remains.
//! *Hoge* is the Japanese *foo*. `HogeUpdatedEvent` is generated from `proto/hoge/v1/hoge_event.proto`.

use std::error::Error;

use outbox::EventId;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(
        "create temporary table hoge (id text primary key, name text); insert into hoge values ('1', 'old')",
    )
    .execute(&mut conn)
    .await?;

    let id = rename(&mut conn, "1", "new").await?;
    println!("published {id}");

    give_up(&mut conn, "1", "newer").await?;
    println!("published nothing");
    Ok(())
}

/// The change and its event are committed together.
async fn rename(conn: &mut PgConnection, id: &str, name: &str) -> Result<EventId, Box<dyn Error>> {
    let mut tx = conn.begin().await?;
    // The update locks the row of the key. That lock keeps the events of one hoge in order.
    sqlx::query("update hoge set name = $2 where id = $1").bind(id).bind(name).execute(&mut *tx).await?;
    let event_id = outbox::enqueue(&mut tx, &HogeUpdatedEvent { hoge_id: id.to_owned() }).await?;
    tx.commit().await?;
    Ok(event_id)
}

/// A rollback discards the change and its event.
async fn give_up(conn: &mut PgConnection, id: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let mut tx = conn.begin().await?;
    sqlx::query("update hoge set name = $2 where id = $1").bind(id).bind(name).execute(&mut *tx).await?;
    outbox::enqueue(&mut tx, &HogeUpdatedEvent { hoge_id: id.to_owned() }).await?;
    tx.rollback().await?;
    Ok(())
}
