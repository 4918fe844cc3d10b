//! A consumer whose queue is empty, or panics. A real queue does not panic at a given moment.

use std::sync::atomic::AtomicUsize;

use outbox_event::EventId;
use outbox_event_router::{Policy, Rpc};
use outbox_runtime::Started;
use outbox_transport::{
    DedupError, Delivery, Depth, Lease, LeaseAnswer, Limits, Outcome, QueueError, Recorded, Released,
    Unsettled, Wanted,
};

use super::*;
use crate::rpc::{Call, CallError};

const VISIBILITY: Duration = Duration::from_secs(30);

/// Queue and record in one.
#[derive(Debug, Clone, Default)]
struct Empty {
    receives: Arc<AtomicUsize>,
    /// So many receives panic before the others.
    panics: usize,
}

impl Queue for Empty {
    type Receipt = ();

    async fn receive(&self, _: Wanted, stop: &CancellationToken) -> Result<Vec<Delivery<()>>, QueueError> {
        assert!(self.receives.fetch_add(1, Ordering::SeqCst) >= self.panics, "a bug");
        stop.cancelled().await;
        Ok(Vec::new())
    }

    async fn settle(&self, _: &[((), Outcome)]) -> Vec<Result<(), Unsettled>> {
        Vec::new()
    }

    async fn extend(&self, _: &[()]) -> Result<(), QueueError> {
        Ok(())
    }

    fn limits(&self) -> Limits {
        let (keeps, linger) = (Duration::MAX, Duration::ZERO);
        Limits { visibility: VISIBILITY, keeps, batch_max: 10, linger, charges: true, chooses: true }
    }
}

impl Depths for Empty {
    async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(Depth::default())
    }
}

impl Dedup for Empty {
    async fn lease(&self, _: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        Ok(Vec::new())
    }

    async fn complete(&self, _: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        Vec::new()
    }

    async fn release(&self, _: &[Released]) -> Vec<Result<(), Unsettled>> {
        Vec::new()
    }
}

impl Poison for Empty {
    async fn poison_for(&self) -> Result<Option<Duration>, DedupError> {
        Ok(None)
    }
}

#[derive(Debug, Clone)]
struct Accepts;

impl RpcClient for Accepts {
    async fn call(&self, _: &Call<'_>) -> Result<(), CallError> {
        Ok(())
    }
}

fn subscriber(started: &Started) -> Subscriber<Accepts> {
    let (rpc, policy) = (Rpc::new("Test/One").unwrap(), Policy::default());
    Subscriber::new("test", (&rpc, &policy), Accepts, VISIBILITY, true, started)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Runs a consumer until these steps have stopped it.
async fn run(
    subscriber: &Subscriber<Accepts>,
    empty: &Empty,
    stops: &Stops,
    steps: impl Future<Output = ()>,
) {
    let open = || std::future::ready(Some((Arc::new(empty.clone()), empty.clone(), Arc::new(empty.clone()))));
    let part = subscriber.readiness.part(subscriber.metrics.name());
    let consuming = consume(subscriber, &part, Duration::from_secs(10), stops, open);
    let (finished, ()) = tokio::join!(consuming, steps);
    assert_eq!(finished, Finished::All);
}

fn stops() -> Stops {
    let ending = CancellationToken::new();
    Stops { stop: ending.child_token(), ending, give_up: CancellationToken::new() }
}

/// Guards promise 3: a consumer begins beside the one that it replaces. Successes of that one may wait for their records for long,
/// and are remembered. Only after a panic nothing records them.
#[tokio::test(start_paused = true)]
async fn only_a_panic_leaves_successes_without_a_record() {
    for (panics, is_known) in [(0, true), (1, false)] {
        let (empty, stops, event) = (Empty { panics, ..Empty::default() }, stops(), EventId::new());
        let subscriber = subscriber(&Started::default());
        subscriber.unrecorded.succeeded(event);
        let steps = async {
            until("it receives", || empty.receives.load(Ordering::SeqCst) > panics).await;
            stops.stop.cancel();
        };
        run(&subscriber, &empty, &stops, steps).await;
        let later = Instant::now() + Duration::from_secs(86_400);
        assert_eq!(subscriber.unrecorded.knows(event, later), is_known, "{panics} panics");
    }
}

/// Guards promise 8: a consumer that was replaced leaves in `/readyz` what the next one waits for. At the end of all it leaves
/// nothing.
#[tokio::test(start_paused = true)]
async fn a_replaced_consumer_leaves_the_parts_of_the_next_one() {
    // The last step of the one before moves the part of the records, so that one does not wait any more.
    for (all_end, left) in [(false, 1), (true, 0)] {
        let (empty, stops, started) = (Empty::default(), stops(), Started::default());
        let subscriber = subscriber(&started);
        let steps = async {
            until("it is ready", || started.readiness.is_ready(None)).await;
            for part in subscriber.parts() {
                started.readiness.part(part).waits("the next one waits");
            }
            if all_end { stops.ending.cancel() } else { stops.stop.cancel() }
        };
        run(&subscriber, &empty, &stops, steps).await;
        assert_eq!(started.readiness.halted(Duration::ZERO).len(), left, "all end: {all_end}");
    }
}
