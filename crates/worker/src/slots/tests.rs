use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::{Policy, Rpc};
use outbox_transport::{Brake, Braked};

use super::*;
use crate::breaker::Answer;
use crate::metrics::Metrics;
use crate::rpc::{By, CallError, Code};

fn limits() -> Limits {
    Limits {
        visibility: Duration::from_secs(30),
        keeps: Duration::MAX,
        batch_max: 500,
        linger: Duration::ZERO,
        charges: true,
        chooses: true,
    }
}

fn slots(concurrency: usize) -> Slots {
    slots_with(limits(), concurrency)
}

fn slots_with(limits: Limits, concurrency: usize) -> Slots {
    let metrics = Metrics::new("test", &Rpc::new("Test/Slots").unwrap());
    let policy = Policy { concurrency, ..Policy::default() };
    let circuit = Circuit::new(policy.backoff, true, &metrics);
    Slots::new(limits, circuit, Braking::new(policy, &metrics), Arc::default())
}

/// Those of the next consumer, after a reload.
fn replaced(old: &Slots, concurrency: usize) -> Slots {
    old.braking.under(Policy { concurrency, ..Policy::default() });
    Slots::new(limits(), old.circuit.clone(), old.braking.clone(), Arc::clone(&old.room))
}

fn away() -> Result<(), CallError> {
    let (code, message) = (Code::Unavailable, "refused".to_owned());
    Err(CallError { code, message, retry_after: None, by: By::Nobody })
}

fn hears(slots: &Slots, reply: &Result<(), CallError>) {
    let (event, began) = (EventId::new(), Instant::now());
    slots.circuit.heard(Answer { event, reply, began, probe: false });
    slots.resize();
}

fn opens(slots: &Slots) {
    (0..5).for_each(|_| hears(slots, &away()));
    assert!(!slots.is_closed());
}

/// Whether a change wakes a consumer with these slots that begins to follow only then.
async fn is_woken(slots: &Slots, by: &Notify, change: impl FnOnce()) -> bool {
    let metrics = Metrics::new("test", &Rpc::new("Test/Slots").unwrap());
    let following = slots.follow(&metrics);
    change();
    tokio::select! {
        never = following => match never {},
        woken = tokio::time::timeout(Duration::from_secs(1), by.notified()) => woken.is_ok(),
    }
}

/// The slot of a call that has begun.
async fn calling(slots: &Arc<Slots>) -> Slot {
    let delivery = Delivery {
        receipt: (),
        body: String::new(),
        attempt: 1,
        enqueued_at: chrono::DateTime::default(),
        lease: None,
    };
    let ask = Ask { most: 1, failed: true, failed_most: 1, probe: None, until: None };
    let mut received = slots.admit(vec![delivery], gathered(slots).await, &ask, None);
    let mut slot = received.slots.pop().unwrap();
    slot.begins();
    slot
}

fn limit(slots: &Slots, concurrency: u32) {
    let brake = Brake::Limit { concurrency: Some(concurrency), rate_per_second: None };
    let left = Duration::from_secs(60);
    slots.braking.set(&[Braked { rpc: "Test/Slots".to_owned(), brake, left }], Instant::now());
    slots.resize();
}

async fn gathered(slots: &Slots) -> Permits {
    slots.gather(&CancellationToken::new()).await.unwrap()
}

/// Whether no slot is free.
async fn is_full(slots: &Slots) -> bool {
    let stop = CancellationToken::new();
    tokio::time::timeout(Duration::from_secs(1), slots.gather(&stop)).await.is_err()
}

/// Guards promise 6: a limit holds for the next calls, whatever is under way, and its end gives back every slot.
#[tokio::test(start_paused = true)]
async fn slots_follow_a_limit() {
    let slots = slots(16);
    let all = gathered(&slots).await;
    assert_eq!(all.len(), 16);
    limit(&slots, 2);
    assert!(is_full(&slots).await);
    let mut under_way = all;
    under_way.truncate(2);
    assert!(is_full(&slots).await, "two are still under way");
    under_way.truncate(1);
    assert_eq!(gathered(&slots).await.len(), 1);
    drop(under_way);
    assert_eq!(gathered(&slots).await.len(), 2);
    limit(&slots, 64);
    assert_eq!(gathered(&slots).await.len(), 64);
    limit(&slots, 2);
    assert_eq!(gathered(&slots).await.len(), 2);
    // The limit ends by itself.
    tokio::time::sleep(Duration::from_secs(61)).await;
    slots.resize();
    assert_eq!(gathered(&slots).await.len(), 16);
}

/// Guards promise 6: half of the slots are filled while the calls of the others are under way. Where requests cost money, a
/// request waits for all slots, for a while.
#[tokio::test(start_paused = true)]
async fn half_of_the_slots_are_enough_where_requests_are_free() {
    let linger = Duration::from_millis(2);
    for (charges, busy, free, waits) in [
        (false, 0, 16, Duration::ZERO),
        (false, 8, 8, Duration::ZERO),
        (false, 9, 7, linger),
        (true, 0, 16, Duration::ZERO),
        (true, 8, 8, linger),
    ] {
        let slots = slots_with(Limits { linger, charges, ..limits() }, 16);
        let mut under_way = gathered(&slots).await;
        under_way.truncate(busy);
        let began = Instant::now();
        assert_eq!(gathered(&slots).await.len(), free, "{charges} {busy}");
        assert_eq!(began.elapsed() >= linger, !waits.is_zero(), "{charges} {busy}");
    }
}

/// Guards promise 6: after an outage one call may begin, and more with each answer.
#[tokio::test(start_paused = true)]
async fn slots_are_few_after_an_outage() {
    let slots = slots(16);
    opens(&slots);
    let mut allowed = Vec::new();
    for _ in 0..17 {
        tokio::time::advance(Duration::from_millis(10)).await;
        hears(&slots, &Ok(()));
        allowed.push(gathered(&slots).await.len());
    }
    assert_eq!(allowed[..4], [1, 2, 3, 4]);
    assert_eq!(allowed[15..], [16, 16]);
}

/// Guards promise 6: after a change of `concurrency`, the calls of the old consumer count against the new value, and their ends
/// don't bring back the old one. What an operator set goes before either.
#[tokio::test(start_paused = true)]
async fn two_consumers_share_their_slots() {
    for (from, busy, to, free) in [(4, 0, 6, 6), (4, 4, 6, 2), (4, 1, 2, 1), (4, 4, 2, 0), (4, 2, 2, 0)] {
        let old = slots(from);
        let mut under_way = gathered(&old).await;
        under_way.truncate(busy);
        let new = replaced(&old, to);
        match free {
            0 => assert!(is_full(&new).await, "{from} to {to} with {busy} calls"),
            _ => assert_eq!(gathered(&new).await.len(), free, "{from} to {to} with {busy} calls"),
        }
        drop(under_way);
        old.resize();
        assert_eq!(gathered(&new).await.len(), to, "{from} to {to}, once {busy} calls have ended");
        limit(&old, 1);
        assert_eq!(gathered(&new).await.len(), 1, "{from} to {to}, limited");
    }
}

/// Guards promise 6: a limit that ends during a ramp does not end the ramp.
#[tokio::test(start_paused = true)]
async fn a_limit_does_not_end_a_ramp() {
    let slots = slots(16);
    opens(&slots);
    for _ in 0..4 {
        tokio::time::advance(Duration::from_millis(10)).await;
        hears(&slots, &Ok(()));
    }
    limit(&slots, 2);
    assert_eq!(gathered(&slots).await.len(), 2);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(gathered(&slots).await.len(), 4);
}

/// Guards promise 6: while the probes belong to a consumer that was replaced, the next one can only wait for their end. That
/// end wakes it in each case. A consumer that was not replaced asks again by itself, and is not woken for nothing.
#[tokio::test(start_paused = true)]
async fn the_next_consumer_hears_of_the_probe() {
    for (called, reply) in [(false, None), (true, Some(away())), (true, Some(Ok(())))] {
        let old = Arc::new(slots(4));
        opens(&old);
        tokio::time::advance(Duration::from_secs(3)).await;
        let (stop, asked) = (CancellationToken::new(), || old.ask(1, &mut None).unwrap().probe.unwrap());
        let (mut any, _fresh) = (old.probing(asked(), &stop), old.probing(asked(), &stop));
        any.called = called;
        stop.cancel();
        let new = replaced(&old, 8);
        assert_eq!(new.ask(1, &mut None), Err(None), "both probes are under way");
        let ends = || {
            if let Some(reply) = &reply {
                hears(&old, reply);
            }
            drop(any);
        };
        assert!(is_woken(&new, &new.loosened, ends).await, "called {called}, answered {reply:?}");
    }
    let only = Arc::new(slots(4));
    opens(&only);
    tokio::time::advance(Duration::from_secs(3)).await;
    let probe = only.ask(1, &mut None).unwrap().probe.unwrap();
    let probing = only.probing(probe, &CancellationToken::new());
    assert!(!is_woken(&only, &only.loosened, || drop(probing)).await, "its next request would end at once");
}

/// Guards promise 6: a call of the consumer before that opens or closes the breaker wakes the next one.
#[tokio::test(start_paused = true)]
async fn the_next_consumer_hears_of_the_breaker() {
    let old = Arc::new(slots(4));
    let (mut one, mut other) = (calling(&old).await, calling(&old).await);
    let new = replaced(&old, 8);
    opens(&old);
    assert!(is_woken(&new, &new.opened, || one.ends()).await, "it may rest, and the breaker is open");
    other.begins();
    hears(&old, &Ok(()));
    assert!(old.is_closed());
    let newer = replaced(&old, 6);
    assert!(
        is_woken(&newer, &newer.loosened, || other.ends()).await,
        "it may wait, and the breaker is closed"
    );
}
