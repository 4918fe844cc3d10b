//! One RPC's last five minutes, as its workers report them.

use outbox::Entry;
use serde_json::{Value, json};

use crate::operator::{ROUTER, misbehave, outbox};
use crate::world::{One, World, until};

async fn lately(world: &World) -> Value {
    outbox(world, "status --rpc Test/One --format json").await.json()["rpcs"].take()
}

/// Guards promise 8: an operator sees which answers an RPC gave, by all workers, and call times as bounds. What no worker knows
/// has its reason, and no zero.
#[tokio::test(flavor = "multi_thread")]
async fn one_rpc_has_its_last_five_minutes() {
    let mut world = World::new(ROUTER).await;
    let _answer = misbehave(&world);
    world.relay();
    let ids = world.publish_all((0..5).map(|n| Entry::new(One { n }))).await;
    world.publish_all([13, 14].map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 7 from outbox.delivery").await;
    let rpcs = lately(&world).await;
    assert_eq!((rpcs.as_array().unwrap().len(), &rpcs[0]["rpc"]), (1, &json!("Test/One")), "{rpcs}");
    assert_eq!(rpcs[0]["serving"]["five_minutes"], Value::Null, "{rpcs}");
    assert_eq!(rpcs[0]["forecast"]["text"], "not known: no running worker reports this RPC", "{rpcs}");
    let shown = outbox(&world, "status --rpc Test/One").await;
    assert!(shown.out.contains("LAST 5 MINUTES  Test/One") && shown.out.contains("not known"), "{shown:?}");
    assert!(!outbox(&world, "status").await.out.contains("LAST 5 MINUTES"));

    let (one, other) = (world.worker_process(), world.worker_process());
    world.rpcs.until_done("Test/One", &ids).await;
    let answers = json!({"invalid_argument": 1, "ok": 5, "unavailable": 1});
    let mut rpcs = Value::Null;
    until("both workers have reported all answers", async || {
        rpcs = lately(&world).await;
        rpcs[0]["serving"]["workers"] == 2 && rpcs[0]["serving"]["five_minutes"]["codes"] == answers
    })
    .await;
    let lately = &rpcs[0]["serving"]["five_minutes"];
    let took: u64 = lately["took"].as_array().unwrap().iter().map(|one| one["calls"].as_u64().unwrap()).sum();
    assert_eq!(took, 7, "{lately}");
    assert!(lately["p50"]["at_most_seconds"].as_f64().unwrap() <= 600.0, "{lately}");
    let shown = outbox(&world, "status --rpc Test/One").await;
    let (answers, of) = ("ok 5, invalid_argument 1, unavailable 1", ", of 7 calls");
    assert!(
        shown.out.contains(answers) && shown.out.contains("p50 ≤ ") && shown.out.contains(of),
        "{shown:?}"
    );

    let mistyped = outbox(&world, "status --rpc Test/Onne").await;
    assert!(mistyped.code == 2 && mistyped.err.contains("did you mean Test/One?"), "{mistyped:?}");
    one.stop().await.unwrap();
    other.stop().await.unwrap();
    world.finish().await;
}
