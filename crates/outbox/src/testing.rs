//! Assertions for your service's own tests, about the events that a transaction enqueued.
//!
//! All of them read only what the given transaction sees, so a test that rolls back leaves nothing behind.
//!
//! The test's database needs the schema. It comes from the crate `outbox-schema`, a dev-dependency. `migrate` may run at the
//! start of each test: once the schema is there, it changes nothing.
//!
//! ```no_run
//! # #[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "camelCase")]
//! # struct CardIssuedEvent { card_id: String }
//! # impl outbox::Event for CardIssuedEvent { const NAME: &'static str = "event_card_issued"; }
//! # async fn issue(tx: &mut sqlx::PgTransaction<'_>) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
//! use outbox::testing::{assert_enqueued_where, enqueued};
//! use sqlx::Connection;
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let mut conn = sqlx::PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
//! outbox_schema::migrate(&mut conn).await?;
//!
//! let mut tx = conn.begin().await?;
//! issue(&mut tx).await?;
//! let event = assert_enqueued_where::<CardIssuedEvent>(&mut tx, |event| event.payload["cardId"] != "").await;
//! assert_eq!(event.key.as_deref(), event.payload["cardId"].as_str());
//! assert_eq!(event.headers["acme-tenant"], "t-1");
//! assert_eq!(enqueued::<CardIssuedEvent>(&mut tx).await.len(), 1);
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::panic::Location;

use serde::de::DeserializeOwned;
use sqlx::PgTransaction;
use uuid::Uuid;

use crate::{Event, EventId};

/// More events than this are a loop: a handler publishes the event that it handles.
const DRAINED_MAX: usize = 10_000;
const READABLE: &str =
    "the transaction can read outbox.event (is the schema there? `outbox_schema::migrate` makes it)";

/// An event that a transaction enqueued.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Enqueued {
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub payload: serde_json::Value,
}

impl Enqueued {
    /// The event as its type.
    ///
    /// # Panics
    ///
    /// If it is an event of another name, or its payload does not fit the type.
    #[track_caller]
    pub fn read<E: Event + DeserializeOwned>(&self) -> E {
        assert_eq!(self.name, E::NAME, "the event is of another type");
        serde_json::from_value(self.payload.clone())
            .unwrap_or_else(|error| panic!("{} does not fit its type: {error}", E::NAME))
    }
}

/// Every event of this name that `tx` sees, in the order in which they were enqueued.
///
/// # Panics
///
/// If `tx` can't read the outbox.
pub async fn enqueued<E: Event>(tx: &mut PgTransaction<'_>) -> Vec<Enqueued> {
    sqlx::query_as(
        "select seq, id, name, key, headers, payload from outbox.event where name = $1 order by seq",
    )
    .bind(E::NAME)
    .fetch_all(&mut **tx)
    .await
    .expect(READABLE)
    .into_iter()
    .map(|row| read(row).1)
    .collect()
}

/// Passes if `tx` sees at least one enqueued event equal to `expected`: same name, same payload as JSON.
///
/// # Panics
///
/// If there is none; the message shows the payloads of that name that are there.
#[track_caller]
pub fn assert_enqueued<E: Event>(tx: &mut PgTransaction<'_>, expected: E) -> impl Future<Output = ()> {
    let caller = Location::caller();
    let expected = serde_json::to_value(&expected).expect("an event serializes");
    async move {
        let found = enqueued::<E>(tx).await;
        assert!(
            found.iter().any(|event| event.payload == expected),
            "{caller}: no {} was enqueued with the payload\n  {expected}\nenqueued of that name: {}",
            E::NAME,
            shown(&found),
        );
    }
}

/// Passes if `tx` sees an event of this name for which `holds` is true, and returns the first one. `holds` may look at
/// the payload, the key and the headers, so an event with a generated id or time can be checked, too.
///
/// # Panics
///
/// If there is none; the message shows the payloads of that name that are there.
#[track_caller]
pub fn assert_enqueued_where<E: Event>(
    tx: &mut PgTransaction<'_>,
    mut holds: impl FnMut(&Enqueued) -> bool,
) -> impl Future<Output = Enqueued> {
    let caller = Location::caller();
    async move {
        let found = enqueued::<E>(tx).await;
        match found.iter().find(|event| holds(event)) {
            Some(event) => event.clone(),
            None => panic!(
                "{caller}: no {} was enqueued that fits\nenqueued of that name: {}",
                E::NAME,
                shown(&found)
            ),
        }
    }
}

/// Passes if `tx` sees exactly so many events of this name.
///
/// # Panics
///
/// If there are more or fewer; the message shows their payloads.
#[track_caller]
pub fn assert_enqueued_count<E: Event>(tx: &mut PgTransaction<'_>, count: usize) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let found = enqueued::<E>(tx).await;
        assert!(
            found.len() == count,
            "{caller}: {} was enqueued {} time(s), not {count}: {}",
            E::NAME,
            found.len(),
            shown(&found)
        );
    }
}

/// Passes if `tx` sees no event of this name.
///
/// # Panics
///
/// If there is one; the message shows its payload.
#[track_caller]
pub fn refute_enqueued<E: Event>(tx: &mut PgTransaction<'_>) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let found = enqueued::<E>(tx).await;
        assert!(found.is_empty(), "{caller}: {} was enqueued: {}", E::NAME, shown(&found));
    }
}

/// Passes if `tx` sees no event of this name for which `holds` is true.
///
/// # Panics
///
/// If there is one; the message shows its payload.
#[track_caller]
pub fn refute_enqueued_where<E: Event>(
    tx: &mut PgTransaction<'_>,
    mut holds: impl FnMut(&Enqueued) -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let mut found = enqueued::<E>(tx).await;
        found.retain(|event| holds(event));
        assert!(found.is_empty(), "{caller}: {} was enqueued: {}", E::NAME, shown(&found));
    }
}

/// Gives each event that `tx` sees to `handle`, in the order in which they were enqueued, and returns them. Events that
/// `handle` enqueues follow. It is the worker in the test's own process, without retries: the first error ends it.
///
/// ```no_run
/// # #[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "camelCase")]
/// # struct CardIssuedEvent { card_id: String }
/// # impl outbox::Event for CardIssuedEvent { const NAME: &'static str = "event_card_issued"; }
/// # async fn notify(tx: &mut sqlx::PgTransaction<'_>, event: CardIssuedEvent) -> Result<(), sqlx::Error> { Ok(()) }
/// # async fn test(tx: &mut sqlx::PgTransaction<'_>) -> Result<(), sqlx::Error> {
/// let handled = outbox::testing::drain(tx, async |tx, event| match event.name.as_str() {
///     "event_card_issued" => notify(tx, event.read()).await,
///     other => panic!("no RPC subscribes to {other}"),
/// })
/// .await?;
/// assert_eq!(handled.len(), 1);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// The first error of `handle`.
///
/// # Panics
///
/// If `tx` can't read the outbox, or if the events do not end because `handle` enqueues one for each.
pub async fn drain<X>(
    tx: &mut PgTransaction<'_>,
    mut handle: impl AsyncFnMut(&mut PgTransaction<'_>, &Enqueued) -> Result<(), X>,
) -> Result<Vec<Enqueued>, X> {
    let (mut handled, mut after) = (Vec::new(), i64::MIN);
    loop {
        let next: Option<Row> = sqlx::query_as(
            "select seq, id, name, key, headers, payload from outbox.event where seq > $1 order by seq limit 1",
        )
        .bind(after)
        .fetch_optional(&mut **tx)
        .await
        .expect(READABLE);
        let Some((seq, event)) = next.map(read) else { return Ok(handled) };
        handle(tx, &event).await?;
        after = seq;
        handled.push(event);
        assert!(handled.len() < DRAINED_MAX, "a handler enqueues the event that it handles, for ever");
    }
}

type Row = (i64, Uuid, String, Option<String>, Option<String>, String);

fn read((seq, id, name, key, headers, payload): Row) -> (i64, Enqueued) {
    let headers = headers.map(|headers| serde_json::from_str(&headers).expect("headers are JSON"));
    let payload = serde_json::from_str(&payload).expect("payloads are JSON");
    (seq, Enqueued { id: id.into(), name, key, headers: headers.unwrap_or_default(), payload })
}

fn shown(found: &[Enqueued]) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let line = |event: &Enqueued| {
        let key = event.key.as_deref().map(|key| format!(" (key {key})")).unwrap_or_default();
        format!("\n  {}{key}", event.payload)
    };
    found.iter().map(line).collect()
}
