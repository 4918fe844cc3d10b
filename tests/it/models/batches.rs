//! A queue's log, whose claims are leases, beside deliveries that have a row of their own. One event, one RPC, two workers.
//! The event is in the log twice, and an operator sends it again.
//!
//! | step | code |
//! |---|---|
//! | `Receive` | `outbox.receive`: claims a batch of the log. It leases the events without a row, a receipt or another open claim |
//! | `Take` | the same, of a row of `outbox.retry`, at any time, because its visibility may have ended |
//! | `Lease` | `outbox.lease`, and the worker's next step: it calls, unless it has a success to record |
//! | `Succeed`, `Fail` | `RpcClient::call` returns |
//! | `GiveUp` | the worker stops during its call. The lease is not given back, because the call may have its effect |
//! | `Complete` | `Dedup::complete`: `outbox.record` writes a receipt, if the claim is open |
//! | `CompleteLate` | its next transaction, if it was not: `outbox.record_rows` writes a row |
//! | `CompleteLast` | `Complete` of the last open delivery of its batch: `outbox.record` closes the claim, too |
//! | `Unheard` | the same, and the worker does not get the answer |
//! | `Release` | `outbox.release`: under an open claim it writes a row whose lease has ended |
//! | `Settle` | `outbox.settle`: a done delivery is acked, and any other moves to `outbox.retry` |
//! | `Close` | the rest of the batch is settled, too, and the claim is closed |
//! | `RecordCloses` | the rest of the batch is recorded, and `outbox.record` closes the claim |
//! | `Recover` | `outbox.recover`: a claim ended before it was closed, so its batch moves to `outbox.retry` |
//! | `Redrive` | `outbox.redrive`, `outbox.replay` |
//! | `Expire` | a lease ends by time |
//! | `Die` | a worker is killed, and its memory is lost |
//! | `Flush`, `Crash` | of the database: a crash loses what is not flushed. Only `outbox.record` and `outbox.record_rows` wait for the flush |
//!
//! A row decides which worker has the lease, and claims do not. For an event in an open claim, only the claim's worker
//! writes a row. If several claims have the event, the first one has the lease. The model `dedup` has the leases of DynamoDB
//! and of rows by themselves.

mod database; // the steps of the database's statements
mod tests;

use stateright::{Model, Property};

const NOT_AGAIN: &str = "once its success is recorded, an RPC is not called again";
const NOT_LOST: &str = "an event that is not done is in the log, in an open claim, or in a row";
const HOLDER_COMPLETES: &str = "a worker that lost its lease can't complete";
const ALONE: &str = "two calls may have their effect at once only after the lease of one ended by time";
const KNOWS: &str = "a worker that has yet to record a success does not call again";
const TWICE: &str = "an event is called again after its worker was killed between success and record";
const LOST: &str = "a worker finds its lease lost";
const LATE: &str = "a success is recorded in a row, because its claim had ended";
const LEFT_OUT: &str = "a batch does not lease an event with a row";
const FOUND: &str = "a row is found done in a receipt";

/// The copies of the event in the log.
const COPIES: u8 = 2;
const ROWS_MAX: u8 = 3;

#[derive(Debug, Clone)]
struct Batches {
    /// The worker of each delivery.
    deliveries: Vec<usize>,
    receives_max: u8,
    redrives_max: u8,
    deaths_max: u8,
    crashes_max: u8,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    AsItIs,
    /// A lease of a row is taken without reading the open claims.
    LeasesWhatIsClaimed,
    /// A lease of a row reads receipts first and claims later. Both may change in between.
    LooksForReceiptsFirst,
    /// A batch is claimed without reading the rows, the receipts, or the other open claims.
    ClaimsWhatRowsHave,
    ClaimsWhatIsDone,
    ClaimsWhatIsClaimed,
    /// A receipt is written by a worker that lost its claim.
    RecordsWithoutItsClaim,
    /// A row is written for a success though another worker's claim has the event.
    RecordsPastClaims,
    /// The open claims are read with the claim's token, and not again in the transaction that writes the row.
    LooksForClaimsFirst,
    /// A failure writes a row, also if the worker lost its claim.
    ReleasesWithoutItsClaim,
    /// The lease of a call that was given up ends with its claim.
    ClosesLeases,
    /// `outbox.record` closes a claim whose batch has a row in `outbox.retry`.
    RecordsPastRetries,
    /// The leases of a claim end when it is recovered.
    RecoversAtOnce,
    /// A claim that ends keeps leases of its whole batch, also of events that an earlier claim has leased.
    KeepsWhatOthersLease,
    /// A receipt does not wait for the flush.
    RecordsLater,
    /// A batch is settled before its successes are recorded.
    SettlesFirst,
}

type Token = u8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    stored: Stored,
    /// The state after a crash of the database.
    flushed: Stored,
    deliveries: Vec<Delivery>,
    /// The leases of calls for which no worker waits, and which may still have their effect.
    ghosts: Vec<Token>,
    /// Whether each worker's `Unrecorded` has the event.
    unrecorded: [bool; 2],
    tokens: Token,
    receives: u8,
    redrives: u8,
    deaths: u8,
    crashes: u8,
    recorded: bool,
    died_after_success: bool,
    seen: Seen,
}

/// The state of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Stored {
    /// The received copies of the log.
    head: u8,
    claims: Vec<Claim>,
    /// The number of rows in `outbox.retry`.
    rows: u8,
    /// The row of `outbox.dedup`.
    row: Option<Row>,
    receipt: bool,
}

/// The open claim of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Claim {
    token: Token,
    /// Its leases ended by time. It stays open while it is extended.
    lapsed: bool,
    settled: bool,
    retried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    lease: Token,
    live: bool,
    done: bool,
}

/// The origin of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum From {
    Claim(Token),
    Row,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Delivery {
    None,
    /// Without a lease. `saw`: whether there was a receipt, if that is read first.
    Received {
        from: From,
        saw: Option<bool>,
    },
    Calls {
        from: From,
        lease: Token,
        lapsed: bool,
    },
    Succeeded {
        from: From,
        lease: Token,
    },
    /// Without an open claim. `saw`: whether another claim had the event, if that is read first.
    Late {
        from: From,
        lease: Token,
        saw: Option<bool>,
    },
    Failed {
        from: From,
        lease: Token,
    },
    /// It waits for another attempt.
    Postponed {
        from: From,
    },
    Recorded {
        from: From,
    },
}

/// The events of the last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Seen {
    called_again: bool,
    called_though_it_knew: bool,
    called_again_after_a_death: bool,
    completed_by_a_loser: bool,
    lost_lease: bool,
    late: bool,
    left_out: bool,
    found: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Receive(usize),
    Take(usize),
    Look(usize),
    Lease(usize),
    Succeed(usize),
    Fail(usize),
    GiveUp(usize),
    Complete(usize),
    CompleteLate(usize),
    CompleteLast(usize),
    Unheard(usize),
    Release(usize),
    Settle(usize),
    Close(Token),
    RecordCloses(Token),
    Recover(Token),
    Redrive,
    Expire(Token),
    Die(usize),
    Flush,
    Crash,
}

impl Model for Batches {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: Stored::default(),
            flushed: Stored::default(),
            deliveries: vec![Delivery::None; self.deliveries.len()],
            ghosts: Vec::new(),
            unrecorded: [false; 2],
            tokens: 0,
            receives: 0,
            redrives: 0,
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
                Delivery::None => steps.extend([Step::Receive(d), Step::Take(d)]),
                Delivery::Received { saw: None, .. } if self.code == Code::LooksForReceiptsFirst => {
                    steps.push(Step::Look(d));
                }
                Delivery::Received { .. } => steps.push(Step::Lease(d)),
                Delivery::Calls { .. } => steps.extend([Step::Succeed(d), Step::Fail(d), Step::GiveUp(d)]),
                Delivery::Succeeded { .. } if self.code == Code::SettlesFirst => {
                    steps.push(Step::Settle(d));
                }
                Delivery::Succeeded { .. } => {
                    steps.extend([Step::Complete(d), Step::CompleteLast(d), Step::Unheard(d)]);
                }
                Delivery::Late { .. } => steps.push(Step::CompleteLate(d)),
                Delivery::Failed { .. } => steps.push(Step::Release(d)),
                Delivery::Postponed { .. } | Delivery::Recorded { .. } => steps.push(Step::Settle(d)),
            }
        }
        for claim in &state.stored.claims {
            steps.push(Step::Recover(claim.token));
            if claim.settled {
                steps.extend([Step::Close(claim.token), Step::RecordCloses(claim.token)]);
            }
            if !claim.lapsed {
                steps.push(Step::Expire(claim.token));
            }
        }
        if let Some(Row { lease, live: true, .. }) = state.stored.row {
            steps.push(Step::Expire(lease));
        }
        if state.redrives < self.redrives_max {
            steps.push(Step::Redrive);
        }
        if state.deaths < self.deaths_max {
            steps.extend([Step::Die(0), Step::Die(1)]);
        }
        if state.crashes < self.crashes_max {
            steps.push(Step::Crash);
            if state.flushed != state.stored {
                steps.push(Step::Flush);
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        state.seen = Seen::default();
        match step {
            Step::Receive(d) => self.receive(&mut state, d)?,
            Step::Take(d) => {
                (state.stored.rows > 0).then_some(())?;
                state.receives += 1;
                state.deliveries[d] = Delivery::Received { from: From::Row, saw: None };
            }
            Step::Look(d) => {
                let Delivery::Received { from, .. } = state.deliveries[d] else { return None };
                state.deliveries[d] = Delivery::Received { from, saw: Some(state.stored.receipt) };
            }
            Step::Lease(d) => self.lease(&mut state, d),
            Step::Succeed(d) => {
                let Delivery::Calls { from, lease, .. } = state.deliveries[d] else { return None };
                state.unrecorded[self.deliveries[d]] = true;
                state.deliveries[d] = Delivery::Succeeded { from, lease };
            }
            Step::Fail(d) => {
                let Delivery::Calls { from, lease, .. } = state.deliveries[d] else { return None };
                state.deliveries[d] = Delivery::Failed { from, lease };
            }
            Step::GiveUp(d) => {
                let Delivery::Calls { from, .. } = state.deliveries[d] else { return None };
                state.leaves_its_call(d);
                state.deliveries[d] = Delivery::Postponed { from };
            }
            Step::Complete(d) => self.complete(&mut state, d),
            Step::CompleteLate(d) => self.complete_late(&mut state, d),
            Step::CompleteLast(d) => self.complete_last(&mut state, d)?,
            Step::Unheard(d) => {
                self.complete_last(&mut state, d)?;
                state.deliveries[d] = before.deliveries[d];
                state.unrecorded = before.unrecorded;
            }
            Step::Release(d) => self.release(&mut state, d),
            Step::Settle(d) => self.settle(&mut state, d),
            Step::Close(token) => self.close(&mut state.stored, token)?,
            Step::RecordCloses(token) => self.record_closes(&mut state, token)?,
            Step::Recover(token) => self.recover(&mut state.stored, token)?,
            Step::Redrive => {
                state.redrives += 1;
                state.stored.rows = (state.stored.rows + 1).min(ROWS_MAX);
            }
            Step::Expire(token) => state.expire(token),
            Step::Die(worker) => self.die(&mut state, worker),
            Step::Flush => state.flushed = state.stored.clone(),
            Step::Crash => {
                state.stored = state.flushed.clone();
                state.lapse(None);
                state.crashes += 1;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_AGAIN, |_, state: &State| !state.seen.called_again),
            Property::always(NOT_LOST, |_, state: &State| {
                let Stored { head, claims, rows, row, receipt } = &state.stored;
                let done = *receipt || row.is_some_and(|row| row.done);
                done || *head < COPIES || *rows > 0 || !claims.is_empty()
            }),
            Property::always(HOLDER_COMPLETES, |_, state: &State| !state.seen.completed_by_a_loser),
            Property::always(ALONE, |_, state: &State| {
                let protected =
                    |delivery: &&Delivery| matches!(delivery, Delivery::Calls { lapsed: false, .. });
                state.deliveries.iter().filter(protected).count() + state.ghosts.len() <= 1
            }),
            Property::always(KNOWS, |_, state: &State| !state.seen.called_though_it_knew),
            Property::sometimes(TWICE, |_, state: &State| state.seen.called_again_after_a_death),
            Property::sometimes(LOST, |_, state: &State| state.seen.lost_lease),
            Property::sometimes(LATE, |_, state: &State| state.seen.late),
            Property::sometimes(LEFT_OUT, |_, state: &State| state.seen.left_out),
            Property::sometimes(FOUND, |_, state: &State| state.seen.found),
        ]
    }
}
