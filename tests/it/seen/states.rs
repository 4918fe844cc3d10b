//! `outbox status` and `outbox why`, as data, with an event in every state.

use std::time::Duration;

use outbox::EventId;
use serde_json::{Value, json};
use sqlx::{PgTransaction, Row};
use tokio_util::sync::CancellationToken;

use crate::operator::{ROUTER, Said, misbehave, outbox, paste, publish_malformed};
use crate::world::{One, Two, World};

/// A world with an event in each state, and a transaction that stays open.
struct Stuck {
    world: World,
    done: EventId,
    dead: EventId,
    failed: EventId,
    called: EventId,
    next: EventId,
    last: EventId,
    parked: EventId,
    uncommitted: EventId,
    /// The transaction with `uncommitted`, and its process.
    open: Option<PgTransaction<'static>>,
    writer: i32,
    answer: CancellationToken,
}

impl Stuck {
    async fn new() -> Self {
        let mut world = World::new(ROUTER).await;
        let answer = misbehave(&world);
        world.relay();
        world.worker_with(Duration::from_secs(30));
        let (done, dead, failed) = (
            world.publish(One { n: 1 }).await,
            world.publish(One { n: 13 }).await,
            world.publish(One { n: 14 }).await,
        );
        let called = world.publish(Two { n: 1 }).await;
        world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(called).is_empty()).await;
        let (next, last) = (world.publish(Two { n: 2 }).await, world.publish(Two { n: 3 }).await);
        let parked = publish_malformed(&world).await;
        let mut open = world.pool.begin().await.unwrap();
        let uncommitted = outbox::enqueue(&mut open, One { n: 2 }).await.unwrap();
        let writer: i32 = sqlx::query("select pg_backend_pid()").fetch_one(&mut *open).await.unwrap().get(0);
        world.until("select count(*) = 1 from outbox.dead_letter").await;
        world.until("select count(*) = 1 from outbox.retry where last_code = 'unavailable'").await;
        world.until("select count(*) = 1 from outbox.parked").await;
        world.until("select count(*) = 6 from outbox.delivery").await;
        world.until("select count(*) = 1 from outbox.done").await;
        Self {
            world,
            done,
            dead,
            failed,
            called,
            next,
            last,
            parked,
            uncommitted,
            open: Some(open),
            writer,
            answer,
        }
    }

    async fn outbox(&self, args: &str) -> Said {
        outbox(&self.world, args).await
    }

    async fn why(&self, event: EventId) -> Said {
        self.outbox(&format!("why {event} --format json")).await
    }

    /// Ends the calls under way.
    async fn finish(self) {
        drop(self.open);
        self.answer.cancel();
        self.world.until("select count(*) = 4 from outbox.done").await;
        self.world.finish().await;
    }
}

fn delivery(said: &Said, at: usize) -> Value {
    said.json()["deliveries"][at].clone()
}

/// Guards promise 8: `status` as JSON counts every state of every RPC, and gives a command for each problem.
#[tokio::test(flavor = "multi_thread")]
async fn status_counts_every_state() {
    let stuck = Stuck::new().await;
    let said = stuck.outbox("status --format json").await;
    let (status, source) = (said.json(), &said.json()["sources"][0]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(source["source"], stuck.world.source.name());
    assert!(source["leader"]["application"].as_str().unwrap().contains("relay"), "{source}");
    assert_eq!((&source["waiting_events"], &source["parked"]), (&json!(0), &json!(1)));
    assert_eq!(source["put_by"], "test");
    let transaction = &source["oldest_transaction"];
    assert_eq!(
        (&transaction["pid"], &transaction["writes"]),
        (&json!(stuck.writer), &json!(true)),
        "{source}"
    );
    assert!(source["outbox_bytes"].as_i64().unwrap() > 100_000);
    let rpc = |name: &str| {
        let rpcs = status["rpcs"].as_array().unwrap();
        rpcs.iter().find(|rpc| rpc["rpc"] == name).unwrap_or_else(|| panic!("{name}: {status}")).clone()
    };
    let counts =
        |rpc: &Value| ["waiting", "hidden", "retrying", "dead"].map(|count| rpc[count].as_i64().unwrap());
    assert_eq!(counts(&rpc("Test/One")), [0, 0, 1, 1]);
    assert_eq!(counts(&rpc("Test/Slow")), [2, 1, 0, 0]);
    assert_eq!(rpc("Test/Slow")["oldest_event"], json!(stuck.next));
    assert!(rpc("Test/Slow")["oldest_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(rpc("Test/One")["breaker"], "closed");
    let problems: Vec<&str> = status["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["command"].as_str().unwrap())
        .collect();
    assert_eq!(problems, ["outbox parked list", "outbox dlq list --rpc Test/One"]);
    stuck.finish().await;
}

/// Guards promise 8: `status` prints the counts, and its commands can be pasted.
#[tokio::test(flavor = "multi_thread")]
async fn status_prints_commands_to_paste() {
    let stuck = Stuck::new().await;
    let shown = stuck.outbox("status").await;
    assert_eq!(shown.code, 1);
    for words in ["1 parked event in ", "1 dead letter of Test/One: outbox dlq list --rpc Test/One", " of 1"]
    {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    let env = [("DATABASE_URL", stuck.world.url.as_str())];
    for begins in ["outbox dlq list", "outbox parked list"] {
        assert_eq!(paste(&env, &shown.command(begins)).await.code, 0, "{begins}");
    }
    stuck.finish().await;
}

/// Guards promise 8: `why` shows a done event, even after retention has removed it.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_a_done_event() {
    let stuck = Stuck::new().await;
    let said = stuck.why(stuck.done).await;
    let life = said.json();
    assert_eq!(
        (said.code, &life["enqueued"]["name"], &life["found"]),
        (0, &json!("event_one"), &json!(true))
    );
    assert_eq!(life["put"]["relay"], "test");
    assert_eq!(delivery(&said, 0)["state"], "done");
    assert_eq!(delivery(&said, 0)["rpc"], "Test/One");

    // Retention removes the event, and keeps its record.
    let done = stuck.done;
    stuck.world.execute(&format!("delete from outbox.event where id = '{done}'")).await;
    let said = stuck.outbox(&format!("why {done}")).await;
    assert!(
        said.code == 0 && said.out.contains("done      20") && said.out.contains("not in test_"),
        "{said:?}"
    );
    stuck.finish().await;
}

/// Guards promise 8: `why` shows a dead letter's reason, and the command that redrives it.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_a_dead_letter() {
    let stuck = Stuck::new().await;
    let said = stuck.why(stuck.dead).await;
    let letter = delivery(&said, 0);
    assert_eq!(said.code, 1);
    assert_eq!(
        [&letter["state"], &letter["code"], &letter["reason"], &letter["attempts"]],
        [&json!("dead"), &json!("invalid_argument"), &json!("no such card"), &json!(1)]
    );
    assert_eq!(
        said.json()["commands"],
        json!([format!("outbox dlq redrive --event {} --rpc Test/One", stuck.dead)])
    );
    stuck.finish().await;
}

/// Guards promise 8: `why` shows a failed attempt with its error, and when the next one is due.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_a_failed_attempt() {
    let stuck = Stuck::new().await;
    let said = stuck.why(stuck.failed).await;
    let failure = delivery(&said, 0);
    assert_eq!((said.code, &failure["state"], &failure["attempt"]), (0, &json!("failed"), &json!(1)));
    assert_eq!((&failure["code"], &failure["error"]), (&json!("unavailable"), &json!("down for the night")));
    assert!(failure["due_at"].as_str().unwrap() > failure["at"].as_str().unwrap(), "{failure}");
    stuck.finish().await;
}

/// Guards promise 8: `why` shows the worker of a call under way, and the deliveries ahead of a queued one.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_calls_and_queued_deliveries() {
    let stuck = Stuck::new().await;
    let said = stuck.why(stuck.called).await;
    let call = delivery(&said, 0);
    assert_eq!((said.code, &call["state"], &call["attempt"]), (0, &json!("calling"), &json!(1)));
    assert!(call["worker"].as_str().unwrap().starts_with("test-"), "{call}");
    for (id, ahead) in [(stuck.next, 0), (stuck.last, 1)] {
        let said = stuck.why(id).await;
        assert_eq!(
            (&delivery(&said, 0)["state"], &delivery(&said, 0)["ahead"]),
            (&json!("queued"), &json!(ahead))
        );
    }
    stuck.finish().await;
}

/// Guards promise 8: `why` shows why an event was parked, and the command that retries it.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_a_parked_event() {
    let stuck = Stuck::new().await;
    let said = stuck.why(stuck.parked).await;
    assert_eq!((said.code, &said.json()["parked"]["code"]), (1, &json!("MalformedDetail")));
    assert_eq!((&said.json()["deliveries"], &said.json()["put"]), (&json!([]), &Value::Null));
    assert_eq!(said.json()["commands"], json!([format!("outbox parked retry {}", stuck.parked)]));
    stuck.finish().await;
}

/// Guards promise 8: `why` of an uncommitted event names the transactions that may still commit it.
#[tokio::test(flavor = "multi_thread")]
async fn why_names_open_transactions() {
    let mut stuck = Stuck::new().await;
    let said = stuck.why(stuck.uncommitted).await;
    let open_there = &said.json()["nowhere"]["sources"][0]["writing_transactions"];
    assert_eq!(
        (said.code, &said.json()["found"], &open_there[0]["pid"]),
        (1, &json!(false), &json!(stuck.writer))
    );
    let told = stuck.outbox(&format!("why {}", stuck.uncommitted)).await.out;
    assert!(told.contains("it may still come with one of these transactions"), "{told}");
    assert!(told.contains(&format!("pid {}, ", stuck.writer)), "{told}");
    stuck.open.take().unwrap().rollback().await.unwrap();
    let told = stuck.outbox(&format!("why {}", stuck.uncommitted)).await.out;
    assert!(told.contains("no transaction is open that could still commit it"), "{told}");
    assert!(told.contains("rolled back"), "{told}");
    stuck.finish().await;
}

/// Guards promise 8 and SECURITY.md: `why` prints every state without the payload.
#[tokio::test(flavor = "multi_thread")]
async fn why_prints_no_payload() {
    let stuck = Stuck::new().await;
    for id in [stuck.done, stuck.dead, stuck.failed, stuck.called, stuck.next, stuck.parked] {
        let told = stuck.outbox(&format!("why {id}")).await;
        assert!(told.out.contains("enqueued  20"), "{told:?}");
        assert!(!told.out.contains("not json") && !told.out.contains("{\"n\""), "{told:?}");
    }
    stuck.finish().await;
}
