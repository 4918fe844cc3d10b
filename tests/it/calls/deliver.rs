//! Verdicts, retries and leases of calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connectrpc::ConnectError;
use outbox::Entry;
use tokio_util::sync::CancellationToken;

use crate::world::{One, ROUTER, Two, World};

/// Guards promise 2: each subscriber of an event gets it, with the headers of the contract. A failing subscriber does not
/// affect the other.
#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_is_called_with_the_contracts_headers() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut tx = world.pool.begin().await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let id = Entry::new(Two { n: 5 })
        .header("traceparent", trace)
        .header("acme-tenant", "t-1")
        .enqueue(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.rpcs.until_done("Test/TwoA", &[id]).await;
    world.rpcs.until_done("Other/TwoB", &[id]).await;
    let sequence: i64 = world.scalar("select seq from outbox.event").await;
    for call in world.rpcs.calls_of(id) {
        let expected = HashMap::from([
            ("content-type", "application/json".to_owned()),
            ("traceparent", trace.to_owned()),
            ("acme-tenant", "t-1".to_owned()),
            ("idempotency-key", id.to_string()),
            ("outbox-event-id", id.to_string()),
            ("outbox-event-name", "event_two".to_owned()),
            ("outbox-source", world.source.name().to_owned()),
            ("outbox-sequence", sequence.to_string()),
            ("outbox-attempt", "1".to_owned()),
        ]);
        for (name, value) in expected {
            assert_eq!(call.incoming.header(name), value, "{name}");
        }
        assert_eq!(&call.incoming.body[..], br#"{"event":{"n":5}}"#);
    }
    world.finish().await;
}

/// Guards the verdict table end to end: transient errors are retried with backoff and dead-lettered at last, permanent ones
/// at once. Retry-After is honoured.
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_retried_or_dead_lettered_as_the_table_says() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |call| {
        let n =
            serde_json::from_slice::<serde_json::Value>(&call.incoming.body).unwrap()["event"]["n"].as_i64();
        let (n, attempt) = (n.unwrap(), call.attempt);
        Box::pin(async move {
            match n {
                1 if attempt < 3 => Err(ConnectError::unavailable("not yet")),
                2 => Err(ConnectError::internal("never")),
                3 => Err(ConnectError::invalid_argument("wrong")),
                4 if attempt == 1 => {
                    let headers = [(http::header::RETRY_AFTER, http::HeaderValue::from_static("2"))]
                        .into_iter()
                        .collect();
                    Err(ConnectError::resource_exhausted("slow down").with_headers(headers))
                }
                5 => Err(ConnectError::already_exists("done long ago")),
                _ => Ok(()),
            }
        })
    });
    world.relay();
    world.worker();
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(world.publish(One { n }).await);
    }
    world.rpcs.until_done("Test/One", &[ids[0], ids[3]]).await;
    world.until("select count(*) = 2 from outbox.dead_letter").await;
    world.until_settled().await;

    let attempts =
        |at: usize| world.rpcs.calls_of(ids[at]).iter().map(|call| call.attempt).collect::<Vec<_>>();
    assert_eq!(attempts(0), [1, 2, 3]);
    assert_eq!(attempts(1), [1, 2, 3, 4, 5]);
    assert_eq!(attempts(2), [1]);
    assert_eq!(attempts(3), [1, 2]);
    assert_eq!(attempts(4), [1]);
    let slow = world.rpcs.calls_of(ids[3]);
    assert!(slow[1].at - slow[0].at >= Duration::from_secs(2), "Retry-After: 2 was not honoured");

    let dead: HashMap<uuid::Uuid, (String, String, i32)> =
        sqlx::query_as::<_, (uuid::Uuid, String, String, i32)>(
            "select event_id, code, reason, attempts from outbox.dead_letter",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, code, reason, attempts)| (id, (code, reason, attempts)))
        .collect();
    assert_eq!(dead[&ids[1].as_uuid()], ("internal".into(), "gave up after 5 attempts: never".into(), 5));
    assert_eq!(dead[&ids[2].as_uuid()], ("invalid_argument".into(), "wrong".into(), 1));
    world.finish().await;
}

/// Guards promise 3: a call that outlasts its message's visibility is neither repeated by another worker nor lost, because
/// the visibility is extended meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_keeps_its_message() {
    let router = "event:\n  - name: event_one\n    subscriber:\n      - { id: Test/One, timeout: 20s }\n";
    let mut world = World::new(router).await;
    world.rpcs.on("Test/One", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok(())
        })
    });
    world.relay();
    world.worker_with(Duration::from_millis(900));
    world.worker_with(Duration::from_millis(900));
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(id).len(), 1);
    world.finish().await;
}

/// Guards: an RPC that exceeds its timeout is a failed attempt, and at most as many calls run at a time as the policy
/// allows.
#[tokio::test(flavor = "multi_thread")]
async fn timeouts_and_concurrency_are_the_policys() {
    let router = "event:\n  - name: event_one\n    subscriber:\n      - { id: Test/One, timeout: 200ms, concurrency: 3, max_attempts: 2, backoff: { min: 10ms, max: 20ms } }\n";
    let mut world = World::new(router).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    world.rpcs.on("Test/One", move |call| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        let hangs = call.incoming.body.windows(6).any(|part| part == br#""n":99"#);
        Box::pin(async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(if hangs { 5000 } else { 20 })).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    });
    world.relay();
    world.worker();
    let ids = world.publish_all((0..30).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    assert!((2..=3).contains(&peak.load(Ordering::SeqCst)), "{peak:?} at a time");

    let hanging = world.publish(One { n: 99 }).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    let (code, reason): (String, String) =
        sqlx::query_as("select code, reason from outbox.dead_letter").fetch_one(&world.pool).await.unwrap();
    assert_eq!(code, "deadline_exceeded");
    assert!(reason.contains("no answer within 200ms"), "{reason}");
    assert_eq!(world.rpcs.calls_of(hanging).len(), 2);
    world.finish().await;
}

/// Guards promise 6: a hanging RPC takes no capacity from its neighbours. They finish while it hangs, which lasts longer
/// than any test.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_rpc_does_not_slow_its_neighbour() {
    let router = "event:\n  - name: event_two\n    subscriber: [{ id: Test/TwoA }, { id: Other/TwoB, timeout: 10m }]\n";
    let mut world = World::new(router).await;
    let answer = CancellationToken::new();
    let answered = answer.clone();
    world.rpcs.on("Other/TwoB", move |_| {
        let answered = answered.clone();
        Box::pin(async move {
            answered.cancelled().await;
            Ok(())
        })
    });
    world.relay();
    world.worker();
    let ids = world.publish_all((0..200).map(|n| Entry::new(Two { n }))).await;
    world.rpcs.until_done("Test/TwoA", &ids).await;
    assert!(world.rpcs.succeeded().iter().all(|(rpc, _)| rpc == "Test/TwoA"));
    answer.cancel();
    world.finish().await;
}

/// Guards `rate_per_second`: an RPC gets no more calls a second than its policy says, and all of them in the end.
#[tokio::test(flavor = "multi_thread")]
async fn calls_keep_to_the_rate() {
    let mut world = World::alone(
        "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, rate_per_second: 20 }]\n",
    )
    .await;
    world.relay();
    world.worker();
    let ids = world.publish_all((0..60).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    let at: Vec<std::time::Instant> = world.rpcs.calls().iter().map(|call| call.at).collect();
    let second = std::time::Duration::from_secs(1);
    let most = (0..at.len())
        .map(|first| at[first..].iter().filter(|call| **call < at[first] + second).count())
        .max();
    // A quarter may come at once, and a call may be a little late.
    assert!(most <= Some(28), "{most:?} calls in a second");
    world.finish().await;
}
