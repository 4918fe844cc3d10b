use chrono::{SecondsFormat, Utc};
use outbox::Entry;
use serde_json::json;

use crate::operator::{ROUTER, outbox, paste, publish_malformed};
use crate::world::{One, Two, World};

/// Guards promise 8: a replay is shown before it runs, and does what it showed. It sends a subscriber its missed events,
/// with a header that marks them. It calls for done events only by force, and skips events that are parked or not put.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_sent_again() {
    let mut world = World::new(ROUTER).await;
    let before = Utc::now();
    let relay = world.relay();
    let worker = world.worker();
    let ids = world
        .publish_all((0..5).map(|n| Entry::new(One { n }).header("acme-tenant", "t-1").key("key-1")))
        .await;
    let two = world.publish(Two { n: 1 }).await;
    publish_malformed(&world).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.rpcs.until_done("Test/Slow", &[two]).await;
    world.until("select count(*) = 1 from outbox.parked").await;
    world.until_settled().await;
    relay.cancel();
    world.until("select not exists (select from pg_stat_activity where application_name like 'outbox relay%' and datname = current_database())").await;
    let waiting = world.publish(One { n: 9 }).await;

    // Done events call nothing.
    let (url, router) = (world.url.clone(), world.router_file.display().to_string());
    let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router)];
    let since = before.to_rfc3339_opts(SecondsFormat::Micros, true);
    let dry = outbox(&world, &format!("replay --since {since} --format json")).await;
    let plan = dry.json();
    assert_eq!(
        (dry.code, plan["messages"].as_i64(), plan["not_put"].as_i64(), plan["parked"].as_i64()),
        (0, Some(6), Some(1), Some(1)),
        "{dry:?}"
    );
    assert_eq!(plan["routes"][0], json!({"event": "event_one", "rpc": "Test/One", "events": 5}));
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 0);
    let shown = outbox(&world, &format!("replay --since {since} --event-name event_one")).await;
    assert!(shown.out.contains("1 event not put yet"), "{shown:?}");
    let run = shown.command("outbox replay");
    assert!(run.contains("--until ") && run.ends_with(" --run"), "{run}");
    let sent = paste(&env, &run).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.out.contains("sent 5 messages\n  5 of them had been done before"), "{sent:?}");
    world.until_settled().await;
    assert_eq!(world.rpcs.calls().len(), 6);

    // By force they do, and the header marks them.
    world.rpcs.forget();
    let sent = outbox(&world, &format!("replay --event {} --force --yes --run", ids[2])).await;
    assert!(sent.out.contains("sent 1 message\n  1 of them had been done: their RPC runs again"), "{sent:?}");
    world.rpcs.until_done("Test/One", &[ids[2]]).await;
    let calls = world.rpcs.calls_of(ids[2]);
    let (first, again) = (&calls[0].incoming, &calls[1].incoming);
    assert_eq!(first.body, again.body, "the payload is the same");
    assert_eq!(
        (again.header("acme-tenant"), again.header("idempotency-key")),
        ("t-1", ids[2].to_string().as_str())
    );
    assert!(again.header("outbox-replay").starts_with("20"), "{}", again.header("outbox-replay"));
    for name in ["outbox-source", "outbox-sequence"] {
        assert_eq!(first.header(name), again.header(name), "a replayed event has the place that it had");
        assert!(!first.header(name).is_empty(), "{name}");
    }
    world.until_settled().await;

    // A new subscriber gets the events that it missed, and no other RPC does.
    worker.cancel();
    let routes = ROUTER.replace("      - id: Test/Slow\n", "      - id: Other/New\n      - id: Test/Slow\n");
    std::fs::write(&world.router_file, &routes).unwrap();
    world.router = outbox_event_router::Router::parse("test.yaml", &routes).unwrap();
    world.worker();
    let why = outbox(&world, &format!("why {two}")).await;
    assert!(why.code == 1 && why.out.contains("before this RPC subscribed"), "{why:?}");
    assert_eq!(paste(&env, &why.command("outbox replay")).await.out, "sent 1 message");
    world.rpcs.until_done("Other/New", &[two]).await;
    assert_eq!(world.rpcs.calls_of(two).len(), 2);
    let missed = outbox(&world, "replay --since 1h --rpc Other/Nwe").await;
    assert!(missed.code == 2 && missed.err.contains("did you mean Other/New?"), "{missed:?}");
    assert!(world.rpcs.calls_of(waiting).is_empty());
    assert_eq!(
        outbox(&world, &format!("replay --event {waiting}")).await.out.lines().next(),
        Some("1 event not put yet: left alone, they come by themselves")
    );
    world.finish().await;
}
