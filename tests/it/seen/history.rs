//! Failed attempts and repairs of an event, after the event has left the outbox.

use connectrpc::ConnectError;
use serde_json::{Value, json};

use crate::operator::{outbox, paste};
use crate::world::{One, World};

const ROUTER: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One, max_attempts: 3, backoff: { min: 10ms, max: 20ms } }]
";

fn of<'a>(history: &'a Value, name: &str) -> Vec<&'a Value> {
    history.as_array().unwrap().iter().map(|entry| &entry[name]).collect()
}

/// Guards promise 8: a week later `why` shows each attempt with its answer and its worker, and who repaired. A success at the
/// first attempt has no entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_after_the_event_is_gone() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |called| {
        let attempt = called.attempt;
        Box::pin(async move { Err(ConnectError::internal(format!("the ledger is locked, {attempt}"))) })
    });
    world.relay();
    world.worker();
    let event = world.publish(One { n: 1 }).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let router = world.router_file.display().to_string();
    let env =
        [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", router.as_str()), ("USER", "operator-a")];
    let redriven = paste(&env, &format!("outbox dlq redrive --event {event}")).await;
    assert_eq!(redriven.out, "redriven 1 dead letter", "{redriven:?}");
    let first = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[event, first]).await;
    world.until_settled().await;
    world.until("select count(*) = 1 from outbox.history where what = 'done'").await;
    world.execute("delete from outbox.event").await;

    let life = outbox(&world, &format!("why {event} --format json")).await.json();
    let history = &life["history"];
    assert_eq!(
        of(history, "what"),
        [&json!("failed"), &json!("failed"), &json!("dead"), &json!("redriven"), &json!("done")],
        "{life}"
    );
    assert_eq!(of(history, "attempt"), [&json!(1), &json!(2), &json!(3), &Value::Null, &json!(1)], "{life}");
    let errors = [
        "the ledger is locked, 1",
        "the ledger is locked, 2",
        "gave up after 3 attempts: the ledger is locked, 3",
    ];
    for (entry, error) in history.as_array().unwrap().iter().zip(errors) {
        assert_eq!((&entry["code"], &entry["error"]), (&json!("internal"), &json!(error)), "{life}");
    }
    for called in [0, 1, 2, 4] {
        assert!(history[called]["worker"].as_str().unwrap().starts_with("test-"), "{life}");
    }
    assert!(history[3]["by"].as_str().unwrap().starts_with("operator-a@"), "{life}");
    assert_eq!(life["deliveries"][0]["state"], json!("done"), "{life}");

    let why = outbox(&world, &format!("why {event}")).await;
    assert_eq!(why.code, 0, "{why:?}");
    let mut rest = why.out.as_str();
    for words in [
        "Test/One\n  done      20",
        "\n  history   20",
        "attempt 1 failed with internal: the ledger is locked, 1 (worker ",
        "attempt 2 failed with internal: the ledger is locked, 2 (worker ",
        "dead at attempt 3 with internal: gave up after 3 attempts: the ledger is locked, 3 (worker ",
        "redriven by operator-a@",
        "done at attempt 1 (worker ",
    ] {
        let at = rest.find(words).unwrap_or_else(|| panic!("{words}: {why:?}"));
        rest = &rest[at + words.len()..];
    }
    let life = outbox(&world, &format!("why {first} --format json")).await.json();
    assert_eq!(life["history"], json!([]), "{life}");
    world.finish().await;
}
