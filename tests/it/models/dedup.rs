//! Is an RPC ever called again for an event once its success is recorded? The model has one event, one RPC, two workers, and
//! two copies of its message. The queue may hand a copy to any worker at any time until it is acked.
//!
//! | step | code |
//! |---|---|
//! | `Receive` | `Queue::receive`: at any time, because visibility may have ended |
//! | `Lease` | `Dedup::lease`, then `Deliverer::lease`, which calls unless the answer forbids it |
//! | `Succeed`, `Fail` | `RpcClient::call` returns, and `decide` decides |
//! | `Complete` | the settler: `Dedup::complete` |
//! | `Release` | the settler: `Dedup::release`. The message comes back later |
//! | `Ack` | the settler: `Queue::settle` |
//! | `Unanswered` | a lease or a completion takes effect, and its answer is lost |
//! | `Expire` | the lease ends |
//! | `Die` | a worker dies, with its memory |
//! | `Flush`, `Crash` | of the database: unflushed writes are lost. Only `Dedup::complete` waits for the flush |
//!
//! A lease and the start of its call are one step: `Leasing::ask` discards answers that took long, and a lease is longer
//! than the remaining time and the call together. `a_pause_before_the_call_would_call_again` shows why that is needed.
//!
//! Left out: dead letters, because their leases are released as those of failures are.

mod tests;
mod worker; // the record, and the worker's use of it

use stateright::{Model, Property};
use worker::LeaseAnswer;

const NOT_AGAIN: &str = "once its success is recorded, an RPC is not called again";
const ACKED_IS_RECORDED: &str = "no message is acked before its success is recorded";
const HOLDER_COMPLETES: &str = "a worker that lost the lease can't complete";
const ALONE: &str = "two calls run at once only after time ended the lease of one";
const KNOWS: &str = "a worker that has yet to record a success does not call again";
const TWICE: &str = "a success is called again after its worker died before the record";
const LOST: &str = "a worker finds its lease lost";
const GONE: &str = "a lease is completed that a crash has lost";

#[derive(Debug, Clone)]
struct Dedup {
    /// The worker of each delivery: one has several at a time.
    deliveries: Vec<usize>,
    receives_max: u8,
    deaths_max: u8,
    store: Store,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    /// A crash may take back leases.
    Postgres { crashes_max: u8 },
    /// No write is lost, but answers are: a lease is requested again with the same token.
    DynamoDb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    AsItIs,
    /// It completes the lease of any worker.
    CompletesAnyway,
    /// It releases the lease of any worker.
    ReleasesAnyway,
    /// The message leaves the queue before its success is recorded.
    AcksFirst,
    /// An expired lease can be taken over, done or not.
    LeasesWhatIsDone,
    /// A record does not wait for the flush.
    RecordsLater,
    /// Unrecorded successes are not remembered.
    ForgetsSuccesses,
    /// Between its lease and its call a worker may pause for longer than the lease.
    PausesBeforeTheCall,
}

type Token = u8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Of the two copies of the message.
    acked: [bool; 2],
    record: Option<Record>,
    /// What a crash of the database leaves.
    flushed: Option<Record>,
    deliveries: Vec<Delivery>,
    /// By worker: the event is in its `Unrecorded`.
    unrecorded: [bool; 2],
    tokens: Token,
    receives: u8,
    deaths: u8,
    crashes: u8,
    recorded: bool,
    died_after_success: bool,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    lease: Token,
    live: bool,
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Delivery {
    None,
    /// DynamoDB: with the token of a lease whose answer was lost.
    Received {
        copy: usize,
        asked_with: Option<Token>,
    },
    /// Only where the worker pauses before the call.
    Won {
        copy: usize,
        lease: Token,
    },
    /// `lapsed`: the lease ended during the call.
    Calls {
        copy: usize,
        lease: Token,
        lapsed: bool,
    },
    Succeeded {
        copy: usize,
        lease: Token,
    },
    Failed {
        lease: Token,
    },
    Recorded {
        copy: usize,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Seen {
    called_again: bool,
    called_though_it_knew: bool,
    called_again_after_a_death: bool,
    acked_unrecorded: bool,
    completed_by_a_loser: bool,
    completed_a_lost_lease: bool,
    lost_lease: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Receive(usize, usize),
    Lease(usize),
    LeaseUnanswered(usize),
    Call(usize),
    Succeed(usize),
    Fail(usize),
    Complete(usize),
    CompleteUnanswered(usize),
    Release(usize),
    Ack(usize),
    Expire,
    Die(usize),
    Flush,
    Crash,
}

impl Model for Dedup {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            acked: [false; 2],
            record: None,
            flushed: None,
            deliveries: vec![Delivery::None; self.deliveries.len()],
            unrecorded: [false; 2],
            tokens: 0,
            receives: 0,
            deaths: 0,
            crashes: 0,
            recorded: false,
            died_after_success: false,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (d, delivery) in state.deliveries.iter().enumerate() {
            match delivery {
                Delivery::None if state.receives == self.receives_max => {}
                Delivery::None => {
                    steps
                        .extend((0..2).filter(|&copy| !state.acked[copy]).map(|copy| Step::Receive(d, copy)));
                }
                Delivery::Received { .. } => steps.extend([Step::Lease(d), Step::LeaseUnanswered(d)]),
                Delivery::Won { .. } => steps.push(Step::Call(d)),
                Delivery::Calls { .. } => steps.extend([Step::Succeed(d), Step::Fail(d)]),
                Delivery::Succeeded { .. } if self.code == Code::AcksFirst => steps.push(Step::Ack(d)),
                Delivery::Succeeded { .. } => {
                    steps.extend([Step::Complete(d), Step::CompleteUnanswered(d)]);
                }
                Delivery::Failed { .. } => steps.push(Step::Release(d)),
                Delivery::Recorded { .. } => steps.push(Step::Ack(d)),
            }
        }
        if state.record.is_some_and(|record| record.live) {
            steps.push(Step::Expire);
        }
        if state.deaths < self.deaths_max {
            steps.extend([Step::Die(0), Step::Die(1)]);
        }
        if let Store::Postgres { crashes_max } = self.store
            && state.crashes < crashes_max
        {
            steps.push(Step::Crash);
            if state.flushed != state.record {
                steps.push(Step::Flush);
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match (step, step.delivery().map(|d| (d, state.deliveries[d]))) {
            (Step::Receive(d, copy), _) => {
                state.receives += 1;
                state.deliveries[d] = Delivery::Received { copy, asked_with: None };
            }
            (Step::Lease(_), Some((d, Delivery::Received { copy, asked_with }))) => {
                let answer = self.lease(&mut state, asked_with);
                self.deliver(&mut state, d, copy, &answer);
            }
            (Step::LeaseUnanswered(_), Some((d, Delivery::Received { copy, asked_with }))) => {
                let answer = self.lease(&mut state, asked_with);
                state.deliveries[d] = match (self.store, answer) {
                    (Store::DynamoDb, LeaseAnswer::Won(token)) => {
                        Delivery::Received { copy, asked_with: Some(token) }
                    }
                    _ => Delivery::None,
                };
            }
            (Step::Call(_), Some((d, Delivery::Won { copy, lease }))) => {
                state.call(d, self.deliveries[d], copy, lease);
            }
            (Step::Succeed(_), Some((d, Delivery::Calls { copy, lease, .. }))) => {
                state.unrecorded[self.deliveries[d]] = true;
                state.deliveries[d] = Delivery::Succeeded { copy, lease };
            }
            (Step::Fail(_), Some((d, Delivery::Calls { lease, .. }))) => {
                state.deliveries[d] = Delivery::Failed { lease };
            }
            (Step::Complete(_), Some((d, Delivery::Succeeded { copy, lease }))) => {
                let recorded = self.complete(&mut state, lease);
                self.settle(&mut state, d, copy, recorded);
            }
            (Step::CompleteUnanswered(_), Some((_, Delivery::Succeeded { lease, .. }))) => {
                self.complete(&mut state, lease);
            }
            (Step::Release(_), Some((d, Delivery::Failed { lease }))) => {
                self.release(&mut state, lease);
                state.deliveries[d] = Delivery::None;
            }
            (Step::Ack(_), Some((d, Delivery::Recorded { copy } | Delivery::Succeeded { copy, .. }))) => {
                state.ack(copy);
                state.deliveries[d] = Delivery::None;
            }
            (Step::Expire, _) => {
                let record = state.record.as_mut()?;
                record.live = false;
                let ended = record.lease;
                state.lapse(Some(ended));
            }
            (Step::Die(worker), _) => self.die(&mut state, worker),
            (Step::Flush, _) => state.flushed = state.record,
            (Step::Crash, _) => Self::crash(&mut state),
            (step, delivery) => unreachable!("{step:?} of {delivery:?}"),
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_AGAIN, |_, state: &State| !state.seen.called_again),
            Property::always(ACKED_IS_RECORDED, |_, state: &State| !state.seen.acked_unrecorded),
            Property::always(HOLDER_COMPLETES, |_, state: &State| !state.seen.completed_by_a_loser),
            Property::always(ALONE, |_, state: &State| {
                let protected =
                    |delivery: &&Delivery| matches!(delivery, Delivery::Calls { lapsed: false, .. });
                state.deliveries.iter().filter(protected).count() <= 1
            }),
            Property::always(KNOWS, |_, state: &State| !state.seen.called_though_it_knew),
            Property::sometimes(TWICE, |_, state: &State| state.seen.called_again_after_a_death),
            Property::sometimes(LOST, |_, state: &State| state.seen.lost_lease),
            Property::sometimes(GONE, |_, state: &State| state.seen.completed_a_lost_lease),
        ]
    }
}

impl Step {
    fn delivery(self) -> Option<usize> {
        match self {
            Self::Receive(d, _)
            | Self::Lease(d)
            | Self::LeaseUnanswered(d)
            | Self::Call(d)
            | Self::Succeed(d)
            | Self::Fail(d)
            | Self::Complete(d)
            | Self::CompleteUnanswered(d)
            | Self::Release(d)
            | Self::Ack(d) => Some(d),
            Self::Expire | Self::Die(_) | Self::Flush | Self::Crash => None,
        }
    }
}
