//! What an operator sets: pauses and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use outbox::Entry;
use outbox_worker::rpc::{By, Call, CallError, Client, Code, RpcClient};

use crate::operator::{outbox, paste};
use crate::world::{One, ROUTER, Rpcs, Two, World, metrics, until};

/// Waits until so many workers report this of `Test/One`.
async fn reported(world: &World, workers: usize, what: &str) {
    world
        .until(&format!(
            "select count(*) = {workers} from outbox.process as p
             cross join lateral json_array_elements(p.report::json -> 'rpcs') as r
             where p.program = 'worker' and r ->> 'rpc' = 'Test/One' and {what}"
        ))
        .await;
}

fn of_one(rpcs: &Rpcs) -> usize {
    rpcs.calls().iter().filter(|call| call.rpc == "Test/One").count()
}

/// Guards promises 6 and 8: no worker calls a paused RPC, and others go on. Its messages wait, and lose no attempt. Status, the
/// history of a waiting event, metrics and audit show it, with the command that ends it. Then all are called.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_rpc_is_not_called_until_it_is_resumed() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    world.worker();
    let before = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[before]).await;
    let paused = outbox(&world, "pause --rpc Test/One --for 30m --why 'a bad deploy'").await;
    assert!(paused.code == 0 && paused.out.contains("Test/One is paused for 30m"), "{paused:?}");

    let waiting = world.publish_all((1..30).map(|n| Entry::new(One { n }))).await;
    let other = world.publish(Two { n: 1 }).await;
    world.rpcs.until_done("Test/TwoA", &[other]).await;
    reported(&world, 2, "(r ->> 'paused')::boolean").await;
    let gauge = format!("outbox_worker_paused{{source=\"{}\",rpc=\"Test/One\"}}", world.source.name());
    let has = |value: &str| metrics().render().lines().any(|line| line == format!("{gauge} {value}"));
    assert!(has("1"));

    let status = outbox(&world, "status").await;
    assert_eq!(status.code, 1);
    assert!(status.out.contains("Test/One is paused until 20"), "{status:?}");
    assert!(status.out.contains(": a bad deploy: outbox resume --rpc Test/One"), "{status:?}");
    let why = outbox(&world, &format!("why {}", waiting[0])).await;
    assert!(why.out.contains("paused until 20") && why.out.contains("outbox resume"), "{why:?}");
    assert!(outbox(&world, "audit").await.out.contains("outbox pause --rpc Test/One"));
    assert_eq!(of_one(&world.rpcs), 1, "only the call before the pause");

    let env = [("DATABASE_URL", world.url.as_str())];
    let resumed = paste(&env, &status.command("outbox resume --rpc Test/One")).await;
    assert!(resumed.code == 0 && resumed.out.contains("is no longer paused"), "{resumed:?}");
    world.rpcs.until_done("Test/One", &waiting).await;
    assert!(world.rpcs.calls().iter().all(|call| call.attempt == 1));
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 0);
    reported(&world, 2, "not (r ->> 'paused')::boolean").await;
    assert!(has("0"));
    let again = outbox(&world, "resume --rpc Test/One").await;
    assert!(again.code == 1 && again.err.contains("Test/One is not paused"), "{again:?}");
    world.finish().await;
}

/// Guards promise 6: a pause ends by itself, and a second one replaces the first, with its reason and its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_itself() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    assert_eq!(outbox(&world, "pause --rpc Test/One --for 2days --why first").await.code, 0);
    assert_eq!(outbox(&world, "pause --rpc Test/One --for 2s --why second").await.code, 0);
    let until: chrono::DateTime<chrono::Utc> = world.scalar("select until from outbox.brake").await;
    assert_eq!(world.scalar::<String>("select why from outbox.brake").await, "second");
    world.worker();
    let ids = world.publish_all((0..5).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    let done: chrono::DateTime<chrono::Utc> = world.scalar("select min(done_at) from outbox.receipt").await;
    assert!(done >= until, "{done} is before {until}");
    let shown = outbox(&world, "status").await;
    assert!(shown.code == 0 && !shown.out.contains("paused"), "{shown:?}");
    world.finish().await;
}

/// Guards promise 6: a worker that has not read a pause yet receives nothing of that RPC.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_itself_is_paused() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    world.worker();
    let first = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    world.until_settled().await;
    // Whether the worker has read the pause by then or not, the event stays in its queue.
    world.stop_relay(&relay).await;
    world
        .execute("insert into outbox.brake (rpc, kind, until, who, why) values ('Test/One', 'pause', now() + interval '1 hour', 'me', 'it')")
        .await;
    let received =
        "select count(*) from outbox.receive('Test/One', 10, '1 min', 'test', '1 min', '-infinity', 0)";
    let waiting = world.publish(One { n: 1 }).await;
    world.relay();
    world.until("select exists (select from outbox.delivery as d join outbox.queue_head as h on h.queue = d.queue where d.seq > h.seq)").await;
    assert_eq!(world.scalar::<i64>(received).await, 0);
    assert!(world.rpcs.calls_of(waiting).is_empty());
    world.execute("delete from outbox.brake").await;
    world.rpcs.until_done("Test/One", &[waiting]).await;
    world.finish().await;
}

/// Guards promise 8: a mistyped RPC, a time that is too long, a missing reason and a pause by another name change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn mistaken_brakes_are_refused() {
    let world = World::new(ROUTER).await;
    for (line, said) in [
        ("pause --rpc Test/Oen --why it", "did you mean Test/One?"),
        ("resume --rpc Test/Oen", "did you mean Test/One?"),
        ("limit --rpc Test/Oen --clear", "did you mean Test/One?"),
        ("pause --rpc Test/One", "--why"),
        ("pause --rpc Test/One --for 3days --why it", "at most 2days"),
        ("limit --rpc Test/One --concurrency 0 --why it", "use `outbox pause`"),
    ] {
        let refused = outbox(&world, line).await;
        assert!(refused.code == 2 && refused.err.contains(said), "{line}: {refused:?}");
    }
    let cleared = outbox(&world, "limit --rpc Test/One --clear").await;
    assert!(cleared.code == 1 && cleared.err.contains("Test/One is not limited"), "{cleared:?}");
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.brake").await, 0);
    world.finish().await;
}

/// Guards promises 6 and 8: a limit changes the calls under way of a running worker, is shown, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_changes_the_calls_of_a_running_worker() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let first = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    let limited =
        outbox(&world, "limit --rpc Test/One --concurrency 2 --rate 500/s --why 'a slow disk'").await;
    assert!(limited.code == 0 && limited.out.contains("outbox limit --rpc Test/One --clear"), "{limited:?}");
    reported(&world, 1, "(r ->> 'limited')::boolean and r ->> 'calls_max' = '2'").await;
    let status = outbox(&world, "status").await;
    assert!(status.code == 0 && status.out.contains("Test/One is limited to 2 calls"), "{status:?}");

    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    world.rpcs.on("Test/One", move |_| {
        let (counted, highest) = (Arc::clone(&counted), Arc::clone(&highest));
        Box::pin(async move {
            highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            counted.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let ids = world.publish_all((1..20).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);

    let env = [("DATABASE_URL", world.url.as_str())];
    let cleared = paste(&env, &status.command("outbox limit --rpc Test/One --clear")).await;
    assert_eq!(cleared.code, 0, "{cleared:?}");
    reported(&world, 1, "not (r ->> 'limited')::boolean and r ->> 'calls_max' = '64'").await;
    // None is answered before ten are under way.
    let ten = Arc::new(tokio::sync::Barrier::new(10));
    world.rpcs.on("Test/One", move |_| {
        let ten = Arc::clone(&ten);
        Box::pin(async move {
            ten.wait().await;
            Ok(())
        })
    });
    let ids = world.publish_all((20..30).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.finish().await;
}

/// A server that is away until it is said to be back. Counts the calls under way after that.
#[derive(Clone)]
struct Away {
    client: Client,
    back: Arc<AtomicBool>,
    now: Arc<AtomicUsize>,
    /// Under way at the beginning of each call since it is back.
    seen: Arc<std::sync::Mutex<Vec<usize>>>,
}

impl RpcClient for Away {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        if !self.back.load(Ordering::SeqCst) {
            let (code, message) = (Code::Unavailable, "connection refused".to_owned());
            return Err(CallError { code, message, retry_after: None, by: By::Nobody });
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.lock().unwrap().push(now);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let answer = self.client.call(call).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

/// Guards promise 6: a server that is back after an outage does not get all calls at once. They grow with its answers, and in
/// the end all are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_back_gets_few_calls_first() {
    let router = "event:\n  - name: event_one\n    subscriber:\n      - { id: Test/One, concurrency: 64, backoff: { min: 10ms, max: 200ms } }\n";
    let mut world = World::new(router).await;
    world.relay();
    let server =
        Away { client: world.client(), back: Arc::default(), now: Arc::default(), seen: Arc::default() };
    world.worker_that_calls(server.clone(), world.source.clone(), Duration::from_secs(3));
    let ids = world.publish_all((0..200).map(|n| Entry::new(One { n }))).await;
    let level =
        format!("outbox_worker_breaker_state{{source=\"{}\",rpc=\"Test/One\"}} ", world.source.name());
    until("the breaker is open", async || metrics().render().lines().any(|line| line == format!("{level}2")))
        .await;
    server.back.store(true, Ordering::SeqCst);
    world.rpcs.until_done("Test/One", &ids).await;
    let seen = server.seen.lock().unwrap().clone();
    // A probe of each kind, then one. Each answer permits one more, so at most half of all calls so far are under way.
    for (n, under_way) in seen.iter().enumerate() {
        assert!(*under_way <= (n / 2 + 2).min(64), "call {n} found {under_way} under way: {seen:?}");
    }
    assert!(seen.iter().max().is_some_and(|most| *most > 8), "it grew: {seen:?}");
    world.finish().await;
}
