//! Publishes an event whose type is written by hand. This one wraps JSON that another system made.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package outbox --example own_type
//! ```
//!
//! The database needs the schema `outbox` (`relay migrate`).
//!
//! Prefer a type from proto: `outbox check` and the compiler verify it. A handwritten type must serialize as its message's
//! proto3 JSON. Nothing checks that here: a worker that transcodes, or the RPC, finds a mistake later.

use std::borrow::Cow;
use std::error::Error;

use outbox::Event;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};

/// `RawValue` keeps the text unchanged.
#[derive(Serialize)]
#[serde(transparent)]
struct HogeUpdated {
    payload: Box<RawValue>,
    #[serde(skip)]
    hoge_id: String,
}

impl Event for HogeUpdated {
    const NAME: &'static str = "event_hoge_updated";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hoge_id))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    let event = HogeUpdated {
        payload: RawValue::from_string(r#"{ "hogeId": "1" }"#.to_owned())?,
        hoge_id: "1".to_owned(),
    };
    let mut tx = conn.begin().await?;
    let id = outbox::enqueue(&mut tx, &event).await?;
    tx.commit().await?;
    println!("published {id}");
    Ok(())
}
