//! The settler with a queue and a record that refuse single messages or are away. Only these are simulated here: a real server
//! can't be made to refuse at a given moment.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_runtime::Readiness;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::in_flight::InFlight;
use outbox_transport::{
    Again, DedupError, Delivery, Kind, LeaseAnswer, QueueError, Recorded, Released, Unsettled, Wanted,
};

/// How often a request for one message fails, and how.
#[derive(Debug, Clone, Copy, Default)]
struct Fails {
    record: Option<(Kind, u32)>,
    settle: Option<(Kind, u32)>,
}

/// Queue and record in one, with a log of their actions.
#[derive(Default)]
struct Server {
    fails: Mutex<HashMap<EventId, Fails>>,
    did: Mutex<Vec<(EventId, &'static str)>>,
}

impl Server {
    fn answer(
        &self,
        event: EventId,
        what: &'static str,
        of: impl Fn(&mut Fails) -> &mut Option<(Kind, u32)>,
    ) -> Result<(), Unsettled> {
        let mut fails = self.fails.lock().unwrap();
        if let Some((kind, times)) = fails.get_mut(&event).and_then(|fails| of(fails).as_mut())
            && *times > 0
        {
            *times -= 1;
            return Err(Unsettled::new(*kind, "AccessDenied", "no"));
        }
        self.did.lock().unwrap().push((event, what));
        Ok(())
    }

    fn did(&self, event: EventId) -> Vec<&'static str> {
        self.did.lock().unwrap().iter().filter(|(of, _)| *of == event).map(|(_, what)| *what).collect()
    }
}

impl Queue for Server {
    type Receipt = EventId;

    async fn receive(
        &self,
        _: Wanted,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<EventId>>, QueueError> {
        stop.cancelled().await;
        Ok(Vec::new())
    }

    async fn settle(&self, settled: &[(EventId, Outcome)]) -> Vec<Result<(), Unsettled>> {
        let one = |(event, outcome): &(EventId, Outcome)| match outcome {
            Outcome::Done | Outcome::Duplicate => self.answer(*event, "ack", |fails| &mut fails.settle),
            Outcome::Dead { .. } | Outcome::SetAside { .. } => {
                self.answer(*event, "dead", |fails| &mut fails.settle)
            }
            // A refused dead letter can still be hidden.
            Outcome::Retry { code: "set_aside", .. } => {
                self.answer(*event, "aside", |fails| &mut fails.record)
            }
            Outcome::Retry { .. } => self.answer(*event, "retry", |fails| &mut fails.settle),
        };
        settled.iter().map(one).collect()
    }

    async fn extend(&self, _: &[EventId]) -> Result<(), QueueError> {
        Ok(())
    }

    fn limits(&self) -> Limits {
        let visibility = Duration::from_secs(30);
        Limits {
            visibility,
            keeps: Duration::MAX,
            batch_max: 10,
            linger: Duration::from_millis(2),
            charges: true,
            chooses: true,
        }
    }
}

impl Dedup for Server {
    async fn lease(&self, _: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        Ok(Vec::new())
    }

    async fn complete(&self, leases: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        let one = |lease: &Lease| self.answer(lease.event, "recorded", |fails| &mut fails.record);
        leases.iter().map(one).map(|answer| answer.map(|()| Recorded::Written)).collect()
    }

    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        released
            .iter()
            .map(|one| self.answer(one.lease.event, "released", |fails| &mut fails.record))
            .collect()
    }
}

struct Bench {
    server: Arc<Server>,
    aside: Aside,
    unrecorded: Unrecorded,
    in_flight: Arc<InFlight<EventId>>,
}

impl Bench {
    fn new() -> Self {
        let second = Duration::from_secs(1);
        Self {
            server: Arc::default(),
            aside: Aside::default(),
            unrecorded: Unrecorded::new(second, second),
            in_flight: Arc::default(),
        }
    }

    fn settler(&self) -> Settler<Server, Server> {
        Settler {
            metrics: Metrics::new("test", &Rpc::new("Test/One").unwrap()),
            part: Readiness::default().part("test"),
            queue: Arc::clone(&self.server),
            dedup: Arc::clone(&self.server),
            unrecorded: self.unrecorded.clone(),
            aside: self.aside.clone(),
        }
    }

    fn decided(&self, outcome: Outcome, fails: Fails) -> Decided<EventId> {
        let event = EventId::new();
        self.server.fails.lock().unwrap().insert(event, fails);
        if outcome == Outcome::Done {
            self.unrecorded.succeeded(event);
        }
        let lease = Some(Lease { event, token: 1 });
        Decided { receipt: event, attempt: 1, outcome, lease, tracked: self.in_flight.track(event) }
    }
}

fn dead() -> Outcome {
    Outcome::Dead { code: "invalid_argument", reason: "no card".into() }
}

fn retry() -> Outcome {
    Outcome::retry(Again::Failed, Duration::ZERO, "internal", "e")
}

const REFUSED_FOR_EVER: Option<(Kind, u32)> = Some((Kind::Refused, u32::MAX));

/// Guards promises 3 and 6: a dead letter that is refused for good is set aside, costs its neighbours nothing, and does not
/// delay the end.
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_set_aside_and_its_neighbours_go_on() {
    let bench = Bench::new();
    let (sender, decisions) = mpsc::channel(100);
    let settling = tokio::spawn(bench.settler().run(decisions));
    let refused = Fails { settle: REFUSED_FOR_EVER, ..Fails::default() };
    let bad = bench.decided(dead(), refused);
    let bad_id = bad.receipt;
    sender.send(bad).await.ok().unwrap();
    let good: Vec<EventId> = {
        let mut good = Vec::new();
        for _ in 0..20 {
            let one = bench.decided(Outcome::Done, Fails::default());
            good.push(one.receipt);
            sender.send(one).await.ok().unwrap();
        }
        good
    };
    drop(sender);
    assert_eq!(settling.await.unwrap(), Finished::All);
    for id in good {
        assert_eq!(bench.server.did(id), ["recorded", "ack"]);
    }
    assert_eq!(bench.server.did(bad_id), ["released", "aside"]);
    assert!(bench.aside.decided(bad_id).is_some());
    assert_eq!(
        bench.aside.counts(Instant::now()).into_iter().collect::<Vec<_>>(),
        [("AccessDenied".into(), 1)]
    );
}

/// Guards promise 3: a success whose record is refused does not leave the queue, is remembered until then, and does not delay
/// the end.
#[tokio::test(start_paused = true)]
async fn a_success_that_cannot_be_recorded_is_kept() {
    let bench = Bench::new();
    let (sender, decisions) = mpsc::channel(100);
    let settling = tokio::spawn(bench.settler().run(decisions));
    let one = bench.decided(Outcome::Done, Fails { record: REFUSED_FOR_EVER, ..Fails::default() });
    let mended = bench.decided(Outcome::Done, Fails { record: Some((Kind::Refused, 3)), ..Fails::default() });
    let (id, mended_id) = (one.receipt, mended.receipt);
    sender.send(one).await.ok().unwrap();
    sender.send(mended).await.ok().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.server.did(mended_id), ["recorded", "ack"]);
    assert!(bench.unrecorded.knows(id, Instant::now()) && !bench.unrecorded.knows(mended_id, Instant::now()));
    let ends = Instant::now();
    drop(sender);
    assert_eq!(settling.await.unwrap(), Finished::NotAll);
    assert!(ends.elapsed() < Duration::from_secs(1), "{:?}", ends.elapsed());
    assert_eq!(bench.server.did(id), [] as [&str; 0]);
}

fn fails() -> impl Strategy<Value = Fails> {
    let fails = || {
        prop_oneof![
            3 => Just(None),
            2 => (0_u32..5).prop_map(|times| Some((Kind::Away, times))),
            1 => (0_u32..5).prop_map(|times| Some((Kind::Refused, times))),
        ]
    };
    (fails(), fails()).prop_map(|(record, settle)| Fails { record, settle })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![3 => Just(Outcome::Done), 1 => Just(dead()), 1 => Just(retry())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Guards promises 3 and 6: whichever messages are refused or fail for a while, each is settled as it would be alone. No
    /// success leaves the queue before its record is written, and a message without a failure is settled once.
    #[test]
    fn each_is_settled_by_itself(all in prop::collection::vec((outcome(), fails()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let (sender, decisions) = mpsc::channel(100);
            let settling = tokio::spawn(bench.settler().run(decisions));
            let mut sent = Vec::new();
            for (outcome, fails) in all {
                let one = bench.decided(outcome.clone(), fails);
                sent.push((one.receipt, outcome, fails));
                sender.send(one).await.ok().unwrap();
            }
            tokio::time::sleep(Duration::from_secs(300)).await;
            drop(sender);
            settling.await.unwrap();
            let unique: HashSet<_> = bench.server.did.lock().unwrap().iter().copied().collect();
            assert_eq!(unique.len(), bench.server.did.lock().unwrap().len(), "something was done twice");
            for (id, outcome, fails) in sent {
                let did = bench.server.did(id);
                let refused = |of: Option<(Kind, u32)>| matches!(of, Some((Kind::Refused, 1..)));
                match outcome {
                    Outcome::Done if refused(fails.settle) => assert_eq!(did, ["recorded"]),
                    Outcome::Done => assert_eq!(did, ["recorded", "ack"]),
                    Outcome::Dead { .. } if refused(fails.settle) => {
                        assert!(!did.contains(&"dead"), "{did:?}");
                        assert!(bench.aside.decided(id).is_some());
                    }
                    Outcome::Dead { .. } => assert_eq!(did.last(), Some(&"dead"), "{fails:?}"),
                    Outcome::Duplicate | Outcome::SetAside { .. } => panic!("not among them"),
                    Outcome::Retry { .. } if refused(fails.settle) => assert!(!did.contains(&"retry")),
                    Outcome::Retry { .. } => assert_eq!(did.last(), Some(&"retry"), "{fails:?}"),
                }
            }
        });
    }
}
