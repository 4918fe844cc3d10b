//! Assertions for your service's own tests, about the events that a transaction enqueued.
//!
//! Both read only what the given transaction sees, so a test that rolls back leaves nothing behind.

use sqlx::PgTransaction;

use crate::Event;

/// Passes if `tx` sees at least one enqueued event equal to `expected`: same name, same payload as JSON.
///
/// # Panics
///
/// If there is none; the message shows the payloads of that name that are there.
#[track_caller]
pub fn assert_enqueued<E: Event>(tx: &mut PgTransaction<'_>, expected: E) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let expected = serde_json::to_value(&expected).expect("an event serializes");
    async move {
        let found = payloads::<E>(tx).await;
        assert!(
            found.contains(&expected),
            "{caller}: no {} was enqueued with the payload\n  {expected}\nenqueued of that name: {}",
            E::NAME,
            if found.is_empty() {
                "none".to_owned()
            } else {
                found.iter().map(|payload| format!("\n  {payload}")).collect()
            },
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
    let caller = std::panic::Location::caller();
    async move {
        let found = payloads::<E>(tx).await;
        assert!(
            found.is_empty(),
            "{caller}: {} was enqueued {} time(s), first with the payload\n  {}",
            E::NAME,
            found.len(),
            found[0]
        );
    }
}

async fn payloads<E: Event>(tx: &mut PgTransaction<'_>) -> Vec<serde_json::Value> {
    let texts: Vec<String> =
        sqlx::query_scalar("select payload from outbox.event where name = $1 order by seq")
            .bind(E::NAME)
            .fetch_all(&mut **tx)
            .await
            .expect("the transaction can read outbox.event (is the schema there? `relay migrate` makes it)");
    texts.iter().map(|text| serde_json::from_str(text).expect("payloads are JSON")).collect()
}
