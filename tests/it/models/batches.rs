//! Does a queue's log, whose claims are leases, go together with deliveries that have a row of their own? One event, one RPC,
//! two workers. The event stands in the log twice, and an operator sends it again.
//!
//! | step | code |
//! |---|---|
//! | `Receive` | `outbox.receive`: claims a batch of the log. It leases what no row, receipt or other open claim has |
//! | `Take` | the same, of a row of `outbox.retry`: whatever visibility says, for it may have ended |
//! | `Lease` | `outbox.lease`, and what the worker makes of the answer. It calls, unless it knows better |
//! | `Succeed`, `Fail` | `RpcClient::call` returns |
//! | `GiveUp` | the worker is stopped in its call. The lease is not given back, for the call may have its effect |
//! | `Complete` | `outbox.record` writes a receipt under an open claim, and else `outbox.record_rows` a row |
//! | `Release` | `outbox.release`: under an open claim it makes a row whose lease is over |
//! | `Settle` | `outbox.settle`: what is done is acked, and the rest goes to `outbox.retry` |
//! | `Close` | the rest of its batch is settled, too: a claim with nothing left is closed |
//! | `Recover` | `outbox.recover`: a claim ended before it was closed, and its batch goes to `outbox.retry` |
//! | `Redrive` | `outbox.redrive`, `outbox.replay` |
//! | `Expire` | the time of a lease is over |
//! | `Die` | a worker dies, and all it knows with it |
//! | `Flush`, `Crash` | of the database: what is not flushed never was. Only `Complete` waits for the flush |
//!
//! A row says who has the lease, whatever the claims say. For of an event in an open claim only the claim's holder makes one.
//! Of several claims with the event the first has the lease.
//! What a lease of DynamoDB or of a row promises by itself is in the model `dedup`.

mod database; // what its statements do
mod tests;

use stateright::{Model, Property};

const NOT_AGAIN: &str = "once its success is recorded, an RPC is not called again";
const NOT_LOST: &str = "an event that is not done is in the log, in an open claim, or in a row";
const HOLDER_COMPLETES: &str = "who lost the lease can't complete";
const ALONE: &str = "two calls have their effect at once only after time ended the lease of one";
const KNOWS: &str = "a worker that has yet to record a success does not call again";
const TWICE: &str = "a success is called again, whose worker died before the record";
const LOST: &str = "a worker finds its lease lost";
const LATE: &str = "a success is recorded in a row, because its claim had ended";
const LEFT_OUT: &str = "a batch leaves out what a row has";
const FOUND: &str = "a row is found done in a receipt";

/// Of the event, in the log.
const COPIES: u8 = 2;
const ROWS_MAX: u8 = 3;

#[derive(Debug, Clone)]
struct Batches {
    /// Whose delivery it is.
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
    /// A lease of a row is taken without a look at the open claims.
    LeasesWhatIsClaimed,
    /// A lease of a row looks for receipts first, and then at the claims: both may have changed in between.
    LooksForReceiptsFirst,
    /// A batch is claimed without a look at the rows, at the receipts, or at the other open claims.
    ClaimsWhatRowsHave,
    ClaimsWhatIsDone,
    ClaimsWhatIsClaimed,
    /// A receipt is written by a worker that lost its claim.
    RecordsWithoutItsClaim,
    /// A row is written for a success though somebody's claim has the event.
    RecordsPastClaims,
    /// A failure of a worker that lost its claim makes a row, too.
    ReleasesWithoutItsClaim,
    /// The lease of a call that was given up ends with its claim.
    ClosesLeases,
    /// The leases of a claim end when it is recovered.
    RecoversAtOnce,
    /// What a claim leaves behind as its leases is all of its batch, whatever an earlier claim has leased of it.
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
    /// What a crash of the database leaves.
    flushed: Stored,
    deliveries: Vec<Delivery>,
    /// Calls that nobody waits for, and that may still have their effect under these leases.
    ghosts: Vec<Token>,
    /// By worker: `Unrecorded` has the event.
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

/// In the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Stored {
    /// So many copies of the log were received.
    head: u8,
    claims: Vec<Claim>,
    /// Of `outbox.retry`.
    rows: u8,
    /// The row of `outbox.dedup`.
    row: Option<Row>,
    receipt: bool,
}

/// Of a batch, as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Claim {
    token: Token,
    /// Time has ended its leases; it stays open for as long as it is extended.
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

/// Where a delivery came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum From {
    Claim(Token),
    Row,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Delivery {
    None,
    /// Without a lease. `saw`: whether there was a receipt, where that is looked for first.
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
    Failed {
        from: From,
        lease: Token,
    },
    /// To be tried again.
    Postponed {
        from: From,
    },
    Recorded {
        from: From,
    },
}

/// What happened in the last step.
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
    Release(usize),
    Settle(usize),
    Close(Token),
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
                Delivery::Succeeded { .. } => steps.push(Step::Complete(d)),
                Delivery::Failed { .. } => steps.push(Step::Release(d)),
                Delivery::Postponed { .. } | Delivery::Recorded { .. } => steps.push(Step::Settle(d)),
            }
        }
        for claim in &state.stored.claims {
            steps.push(Step::Recover(claim.token));
            if claim.settled {
                steps.push(Step::Close(claim.token));
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
            Step::Release(d) => self.release(&mut state, d),
            Step::Settle(d) => self.settle(&mut state, d),
            Step::Close(token) => self.close(&mut state.stored, token)?,
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
