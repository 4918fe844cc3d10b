//! Each example of the publisher's library, run as a program.

use std::path::PathBuf;
use std::process::Command;

use testkit::process::{self, Process};

use crate::world::{ROUTER, World};

/// A row of `outbox.event`: name, key, headers, payload.
type Row = (String, Option<String>, Option<String>, String);

/// Guards the README: every example of `crates/outbox/examples` runs on a migrated database, and publishes what its first
/// line says.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_publishes_what_it_says() {
    // Cargo runs within this test's turn, because it would disturb a test that measures.
    let world = World::new(ROUTER).await;
    let programs = build();
    let mut tested = Vec::new();
    for (example, said, rows) in expected() {
        let database = world.beside(ROUTER).await;
        let mut program =
            Process::start(&programs.join(example), [""; 0], &[("DATABASE_URL", &database.url)])
                .unwrap_or_else(|error| panic!("{example}: {error}"));
        program.wait_for(said).await.unwrap();
        assert!(program.ended().await.unwrap().success(), "{example}");
        assert_eq!(published(&database).await, rows, "{example}");
        database.finish().await;
        tested.push(format!("{example}.rs"));
    }
    tested.sort();
    assert_eq!(tested, sources(), "an example is not tested, or is gone");
    world.finish().await;
}

/// The last line that each example prints, and the rows that it leaves.
fn expected() -> Vec<(&'static str, &'static str, Vec<Row>)> {
    let hoge = |key: &str, headers: Option<&str>, payload: &str| -> Row {
        ("event_hoge_updated".into(), Some(key.into()), headers.map(Into::into), payload.into())
    };
    let one = || hoge("1", None, r#"{"hogeId":"1"}"#);
    let mut many: Vec<Row> =
        (1..=99).map(|n| hoge(&n.to_string(), None, &format!(r#"{{"hogeId":"{n}"}}"#))).collect();
    let settled = r#"{"transactionId":"t-1","cardId":"c-1","merchant":"Corner Bakery","amountMinor":"480","currency":"JPY"}"#;
    many.push(("event_card_transaction_settled".into(), Some("c-1".into()), None, settled.into()));
    let headers = Some(r#"{"acme-tenant":"t-1"}"#);
    vec![
        ("enqueue", "published nothing", vec![one()]),
        ("in_tests", "published as expected", vec![]),
        ("key_and_headers", "publishing", vec![one(), hoge("customer-7", headers, r#"{"hogeId":"1"}"#)]),
        ("many", "published 100", many),
        ("own_type", "published", vec![hoge("1", None, r#"{ "hogeId": "1" }"#)]),
        ("refused", "header `authorization` of event_hoge_updated is reserved", vec![one()]),
    ]
}

async fn published(database: &World) -> Vec<Row> {
    sqlx::query_as("select name, key, headers, payload from outbox.event order by seq")
        .fetch_all(&database.pool)
        .await
        .unwrap()
}

/// With the features of the whole workspace, which a full test run has built already.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--examples"])
        .current_dir(process::root())
        .status()
        .unwrap();
    assert!(status.success(), "the examples do not build");
    process::target().join("debug/examples")
}

fn sources() -> Vec<String> {
    let dir = process::root().join("crates/outbox/examples");
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
