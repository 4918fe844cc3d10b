use outbox_event::EventId;
use tokio::sync::watch;

use super::*;
use crate::rpc::{Call, CallError};

fn router(subscribers: &str) -> Router {
    let yaml = format!("event:\n  - name: event_one\n    subscriber: [{subscribers}]\n");
    Router::parse("test.yaml", &yaml).unwrap_or_else(|findings| panic!("{findings}"))
}

/// Guards promise 6: only the consumers of RPCs that changed are replaced.
#[test]
fn only_what_changed_is_replaced() {
    let before = "{ id: Test/One }, { id: Test/Two, concurrency: 4 }";
    let before = router(before).rpcs().map(|(rpc, policy)| (rpc.clone(), *policy)).collect();
    for (after, expected) in [
        (
            "{ id: Test/One }, { id: Test/Two, concurrency: 4 }",
            vec![("Test/One", Change::Stays), ("Test/Two", Change::Stays)],
        ),
        (
            "{ id: Test/One }, { id: Test/Two, concurrency: 5 }",
            vec![("Test/One", Change::Stays), ("Test/Two", Change::IsReplaced)],
        ),
        ("{ id: Test/One, timeout: 3s }", vec![("Test/One", Change::IsReplaced)]),
        ("{ id: Test/One, rate_per_second: 3 }", vec![("Test/One", Change::IsReplaced)]),
        ("{ id: Test/One }, { id: Away/Rpc }", vec![("Test/One", Change::Stays)]),
        (
            "{ id: Test/One }, { id: Test/New }",
            vec![("Test/New", Change::Begins), ("Test/One", Change::Stays)],
        ),
    ] {
        let router = router(after);
        let found = changes(&before, &router, Pace::default(), |rpc| rpc.as_str() != "Away/Rpc");
        let found: Vec<_> = found.iter().map(|(rpc, _, change)| (rpc.as_str(), *change)).collect();
        assert_eq!(found, expected, "{after}");
    }
}

#[derive(Debug, Clone)]
struct Accepts;

impl RpcClient for Accepts {
    async fn call(&self, _: &Call<'_>) -> Result<(), CallError> {
        Ok(())
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Guards promises 3 and 8: an RPC that is no longer served leaves nothing in `/readyz`, and one that is replaced stays there.
/// A success that waits for its record is remembered without limit while a consumer may record it, and not after the last one.
#[tokio::test(start_paused = true)]
async fn what_is_served_decides_what_is_waited_for() {
    let (newest, plans) = watch::channel(Plan::new(router("{ id: Test/One }, { id: Test/Two }"), Accepts));
    let started = Started::default();
    let served = Served::new("test", (Duration::from_secs(30), Pace::default()), true, &started);
    let begin = |subscriber: Subscriber<Accepts>, stops: Stops| async move {
        for part in subscriber.parts() {
            subscriber.readiness.part(part).waits("its queue is missing");
        }
        stops.stop.cancelled().await;
        Finished::All
    };
    let halted = || {
        let parts = started.readiness.halted(Duration::ZERO).into_iter().map(|halted| halted.part);
        parts.collect::<Vec<_>>()
    };
    let event = EventId::new();
    let knows = || {
        let later = Instant::now() + Duration::from_secs(86_400);
        served.all().iter().any(|subscriber| subscriber.unrecorded.knows(event, later))
    };
    let steps = async {
        until("both wait", || halted().len() == 4).await;
        served.all()[0].unrecorded.succeeded(event);
        newest.send_replace(Plan::new(router("{ id: Test/One, concurrency: 3 }"), Accepts));
        let left = ["test Test/One", "test Test/One records"];
        until("only the parts of the one that is served are left", || halted() == left).await;
        assert!(knows(), "the consumer that was replaced may still record it");
        started.stop.cancel();
    };
    let stops = (&started.stop, &started.give_up);
    let (finished, ()) = tokio::join!(consumers(&served, plans, stops, begin, || ()), steps);
    assert_eq!((finished, knows()), (Finished::All, false));
}
