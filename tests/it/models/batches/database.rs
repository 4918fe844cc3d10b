//! The statements of the queue and of the dedup record, and what a worker does after their answers.

use super::{Batches, COPIES, Claim, Code, Delivery, From, ROWS_MAX, Row, State, Stored, Token};

impl Stored {
    pub(super) fn claim(&mut self, token: Token) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|claim| claim.token == token)
    }

    fn is_claimed(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Removes a claim. Returns it, and whether it had the lease, because it was the first.
    fn end(&mut self, token: Token) -> Option<(Claim, bool)> {
        let at = self.claims.iter().position(|claim| claim.token == token)?;
        Some((self.claims.remove(at), at == 0))
    }

    /// The lease that may complete: that of the row, or else that of the first claim.
    fn holder(&self) -> Option<Token> {
        match self.row {
            Some(row) => Some(row.lease),
            None => self.claims.first().map(|claim| claim.token),
        }
    }

    /// Keeps the lease of an event as a row. The event is in `outbox.retry`, and was not given back.
    fn keep_lease(&mut self, claim: Claim) {
        if !self.receipt {
            self.row.get_or_insert(Row { lease: claim.token, live: !claim.lapsed, done: false });
        }
    }
}

impl State {
    fn call(&mut self, d: usize, worker: usize, from: From, lease: Token) {
        self.seen.called_again |= self.recorded;
        self.seen.called_though_it_knew |= self.unrecorded[worker];
        self.seen.called_again_after_a_death |= self.died_after_success;
        self.deliveries[d] = Delivery::Calls { from, lease, lapsed: false };
    }

    /// The worker gets no answer, and the call may still have its effect.
    pub(super) fn leaves_its_call(&mut self, d: usize) {
        if let Delivery::Calls { lease, lapsed: false, .. } = self.deliveries[d] {
            self.ghosts.push(lease);
        }
    }

    /// Ends the protection of the calls under this lease. `None`: of all calls, because a crash changed the record.
    pub(super) fn lapse(&mut self, ended: Option<Token>) {
        self.ghosts.retain(|lease| ended.is_some_and(|ended| ended != *lease));
        for delivery in &mut self.deliveries {
            if let Delivery::Calls { lease, lapsed, .. } = delivery {
                *lapsed |= ended.is_none_or(|ended| ended == *lease);
            }
        }
    }

    pub(super) fn expire(&mut self, token: Token) {
        for claim in self.stored.claims.iter_mut().filter(|claim| claim.token == token) {
            claim.lapsed = true;
        }
        if let Some(row) = self.stored.row.as_mut().filter(|row| row.lease == token) {
            row.live = false;
        }
        self.lapse(Some(token));
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        self.tokens
    }
}

impl Batches {
    /// `outbox.receive`, of the log.
    pub(super) fn receive(&self, state: &mut State, d: usize) -> Option<()> {
        (state.stored.head < COPIES).then_some(())?;
        state.receives += 1;
        let token = state.token();
        let stored = &mut state.stored;
        let has_row = stored.row.is_some() && self.code != Code::ClaimsWhatRowsHave;
        let has_receipt = stored.receipt && self.code != Code::ClaimsWhatIsDone;
        let is_claimed = stored.is_claimed() && self.code != Code::ClaimsWhatIsClaimed;
        stored.head += 1;
        let claim = Claim { token, lapsed: false, settled: false, retried: false };
        stored.claims.push(claim);
        let from = From::Claim(token);
        if has_row || has_receipt || is_claimed {
            state.seen.left_out |= has_row;
            state.deliveries[d] = Delivery::Received { from, saw: None };
        } else {
            self.begin(state, d, from, token);
        }
        Some(())
    }

    /// `outbox.lease`
    pub(super) fn lease(&self, state: &mut State, d: usize) {
        let Delivery::Received { from, saw } = state.deliveries[d] else { return };
        let stored = &state.stored;
        let has_receipt = saw.unwrap_or(stored.receipt);
        let is_claimed = stored.is_claimed() && self.code != Code::LeasesWhatIsClaimed;
        let is_free = match stored.row {
            Some(row) => !row.live,
            None => !is_claimed,
        };
        if has_receipt || stored.row.is_some_and(|row| row.done) {
            state.seen.found |= has_receipt && from == From::Row;
            state.unrecorded[self.deliveries[d]] = false;
            state.deliveries[d] = Delivery::Recorded { from };
        } else if is_free {
            let lease = state.token();
            state.stored.row = Some(Row { lease, live: true, done: false });
            self.begin(state, d, from, lease);
        } else {
            state.deliveries[d] = Delivery::Postponed { from };
        }
    }

    /// `Deliverer::lease`
    fn begin(&self, state: &mut State, d: usize, from: From, lease: Token) {
        let worker = self.deliveries[d];
        if state.unrecorded[worker] {
            state.deliveries[d] = Delivery::Succeeded { from, lease };
        } else {
            state.call(d, worker, from, lease);
        }
    }

    /// `outbox.record`
    pub(super) fn complete(&self, state: &mut State, d: usize) {
        let Delivery::Succeeded { from, lease } = state.deliveries[d] else { return };
        let holder = state.stored.holder();
        let is_of_claim = from == From::Claim(lease);
        if state.stored.claim(lease).is_some() || (is_of_claim && self.code == Code::RecordsWithoutItsClaim) {
            state.stored.receipt = true;
            self.recorded(state, d, from, holder.is_some_and(|holder| holder != lease));
        } else {
            let saw = (self.code == Code::LooksForClaimsFirst).then(|| state.stored.is_claimed());
            state.deliveries[d] = Delivery::Late { from, lease, saw };
        }
    }

    /// `outbox.record_rows`
    pub(super) fn complete_late(&self, state: &mut State, d: usize) {
        let Delivery::Late { from, lease, saw } = state.deliveries[d] else { return };
        let holder = state.stored.holder();
        let stored = &mut state.stored;
        let is_claimed = saw.unwrap_or(stored.is_claimed()) && self.code != Code::RecordsPastClaims;
        match &mut stored.row {
            Some(row) if row.lease == lease => row.done = true,
            Some(_) => {}
            None if is_claimed => {}
            None => stored.row = Some(Row { lease, live: false, done: true }),
        }
        if stored.row.is_some_and(|row| row.lease == lease && row.done) {
            state.seen.late |= from == From::Claim(lease);
            self.recorded(state, d, from, holder.is_some_and(|holder| holder != lease));
        } else {
            state.seen.lost_lease = true;
            state.deliveries[d] = Delivery::Postponed { from };
        }
    }

    fn recorded(&self, state: &mut State, d: usize, from: From, by_a_loser: bool) {
        state.seen.completed_by_a_loser |= !state.recorded && by_a_loser;
        state.recorded = true;
        state.unrecorded[self.deliveries[d]] = false;
        if self.code != Code::RecordsLater {
            state.flushed = state.stored.clone();
        }
        state.deliveries[d] = Delivery::Recorded { from };
    }

    /// `outbox.record` of the last open delivery of a claim.
    pub(super) fn complete_last(&self, state: &mut State, d: usize) -> Option<()> {
        let Delivery::Succeeded { from: From::Claim(token), lease } = state.deliveries[d] else {
            return None;
        };
        (token == lease).then_some(())?;
        let is_open = state.stored.claim(token).is_some();
        self.complete(state, d);
        if is_open { self.record_closes(state, token) } else { Some(()) }
    }

    /// The end of `outbox.record`. It keeps no leases.
    pub(super) fn record_closes(&self, state: &mut State, token: Token) -> Option<()> {
        let retried = state.stored.claim(token)?.retried;
        if retried && self.code != Code::RecordsPastRetries {
            return None;
        }
        state.stored.end(token)?;
        if self.code != Code::RecordsLater {
            state.flushed = state.stored.clone();
        }
        Some(())
    }

    /// `outbox.release`
    pub(super) fn release(&self, state: &mut State, d: usize) {
        let Delivery::Failed { from, lease } = state.deliveries[d] else { return };
        let is_of_claim = from == From::Claim(lease);
        let is_open = state.stored.claim(lease).is_some();
        match &mut state.stored.row {
            Some(row) if row.lease == lease && !row.done => row.live = false,
            row @ None if is_open || (is_of_claim && self.code == Code::ReleasesWithoutItsClaim) => {
                *row = Some(Row { lease, live: false, done: false });
            }
            _ => {}
        }
        state.deliveries[d] = Delivery::Postponed { from };
    }

    /// `outbox.settle`
    pub(super) fn settle(&self, state: &mut State, d: usize) {
        let delivery = std::mem::replace(&mut state.deliveries[d], Delivery::None);
        let (from, is_retry) = match delivery {
            Delivery::Postponed { from } => (from, true),
            Delivery::Recorded { from } | Delivery::Succeeded { from, .. } => (from, false),
            other => unreachable!("{other:?} is not settled"),
        };
        match from {
            From::Row if !is_retry => state.stored.rows = state.stored.rows.saturating_sub(1),
            From::Row => {}
            From::Claim(token) => {
                let Some(claim) = state.stored.claim(token) else { return };
                claim.settled = true;
                claim.retried |= is_retry;
                if is_retry {
                    state.stored.rows = (state.stored.rows + 1).min(ROWS_MAX);
                }
            }
        }
    }

    /// The last part of `outbox.settle`.
    pub(super) fn close(&self, stored: &mut Stored, token: Token) -> Option<()> {
        let (closed, leases) = stored.end(token)?;
        let leases = leases || self.code == Code::KeepsWhatOthersLease;
        if closed.retried && leases && self.code != Code::ClosesLeases {
            stored.keep_lease(closed);
        }
        Some(())
    }

    /// `outbox.recover`
    pub(super) fn recover(&self, stored: &mut Stored, token: Token) -> Option<()> {
        let (ended, leases) = stored.end(token)?;
        let leases = leases || self.code == Code::KeepsWhatOthersLease;
        stored.rows = (stored.rows + 1).min(ROWS_MAX);
        if leases && self.code != Code::RecoversAtOnce {
            stored.keep_lease(ended);
        }
        Some(())
    }

    pub(super) fn die(&self, state: &mut State, worker: usize) {
        for d in 0..state.deliveries.len() {
            if self.deliveries[d] == worker {
                let succeeded =
                    matches!(state.deliveries[d], Delivery::Succeeded { .. } | Delivery::Late { .. });
                state.died_after_success |= succeeded && !state.recorded;
                state.leaves_its_call(d);
                state.deliveries[d] = Delivery::None;
            }
        }
        state.unrecorded[worker] = false;
        state.deaths += 1;
    }
}
