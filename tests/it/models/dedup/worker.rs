//! The dedup record, and a worker's use of it.

use super::{Code, Dedup, Delivery, Record, State, Store, Token};

pub(super) enum LeaseAnswer {
    Done,
    Held,
    Won(Token),
}

impl State {
    pub(super) fn call(&mut self, d: usize, worker: usize, copy: usize, lease: Token) {
        self.seen.called_again |= self.recorded;
        self.seen.called_though_it_knew |= self.unrecorded[worker];
        self.seen.called_again_after_a_death |= self.died_after_success;
        self.deliveries[d] = Delivery::Calls { copy, lease, lapsed: false };
    }

    pub(super) fn ack(&mut self, copy: usize) {
        self.acked[copy] = true;
        self.seen.acked_unrecorded |= !self.recorded;
    }

    /// This lease no longer protects its calls. `None` ends every lease, because a crash lost the record.
    pub(super) fn lapse(&mut self, ended: Option<Token>) {
        for delivery in &mut self.deliveries {
            if let Delivery::Calls { lease, lapsed, .. } = delivery {
                *lapsed |= ended.is_none_or(|ended| ended == *lease);
            }
        }
    }
}

impl Dedup {
    /// `Dedup::lease`
    pub(super) fn lease(&self, state: &mut State, asked_with: Option<Token>) -> LeaseAnswer {
        let takes_done = self.code == Code::LeasesWhatIsDone;
        match state.record {
            Some(record) if record.done && !takes_done => return LeaseAnswer::Done,
            // Its own lease, whose answer was lost.
            Some(record) if record.live && Some(record.lease) == asked_with => {
                return LeaseAnswer::Won(record.lease);
            }
            Some(record) if record.live => return LeaseAnswer::Held,
            _ => {}
        }
        let lease = asked_with.unwrap_or_else(|| {
            state.tokens += 1;
            state.tokens
        });
        state.record = Some(Record { lease, live: true, done: false });
        LeaseAnswer::Won(lease)
    }

    /// `Dedup::complete`: returns whether the success is recorded now.
    pub(super) fn complete(&self, state: &mut State, lease: Token) -> bool {
        match &mut state.record {
            Some(record) if record.lease == lease => record.done = true,
            Some(record) if self.code == Code::CompletesAnyway => {
                state.seen.completed_by_a_loser |= !record.done;
                record.done = true;
            }
            Some(record) if self.store == Store::DynamoDb && record.done => {}
            Some(_) => return false,
            None => {
                state.record = Some(Record { lease, live: false, done: true });
                state.seen.completed_a_lost_lease = true;
            }
        }
        state.recorded = true;
        if self.code != Code::RecordsLater {
            state.flushed = state.record;
        }
        true
    }

    /// `Dedup::release`
    pub(super) fn release(&self, state: &mut State, lease: Token) {
        if let Some(record) = &mut state.record
            && !record.done
            && (record.lease == lease || self.code == Code::ReleasesAnyway)
        {
            record.live = false;
        }
    }

    /// `Deliverer::lease`
    pub(super) fn deliver(&self, state: &mut State, d: usize, copy: usize, answer: &LeaseAnswer) {
        let worker = self.deliveries[d];
        match *answer {
            LeaseAnswer::Done => {
                state.unrecorded[worker] = false;
                state.deliveries[d] = Delivery::Recorded { copy };
            }
            LeaseAnswer::Held => state.deliveries[d] = Delivery::None,
            LeaseAnswer::Won(lease) if state.unrecorded[worker] && self.code != Code::ForgetsSuccesses => {
                state.deliveries[d] = Delivery::Succeeded { copy, lease };
            }
            LeaseAnswer::Won(lease) if self.code == Code::PausesBeforeTheCall => {
                state.deliveries[d] = Delivery::Won { copy, lease };
            }
            LeaseAnswer::Won(lease) => state.call(d, worker, copy, lease),
        }
    }

    /// How the settler settles a success, once it has the result of `complete`.
    pub(super) fn settle(&self, state: &mut State, d: usize, copy: usize, recorded: bool) {
        state.unrecorded[self.deliveries[d]] &= !recorded;
        state.seen.lost_lease |= !recorded;
        state.deliveries[d] = if recorded { Delivery::Recorded { copy } } else { Delivery::None };
    }

    pub(super) fn die(&self, state: &mut State, worker: usize) {
        for (delivery, of) in state.deliveries.iter_mut().zip(&self.deliveries) {
            if *of == worker {
                state.died_after_success |= matches!(delivery, Delivery::Succeeded { .. }) && !state.recorded;
                *delivery = Delivery::None;
            }
        }
        state.unrecorded[worker] = false;
        state.deaths += 1;
    }

    /// Acks may be lost, too: their messages are received again.
    pub(super) fn crash(state: &mut State) {
        state.record = state.flushed;
        state.acked = [false; 2];
        state.lapse(None);
        state.crashes += 1;
    }
}
