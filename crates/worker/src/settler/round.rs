//! One round: successes are recorded, leases given back, and then messages settled.

use tokio::time::Instant;

use super::{Decided, Open, Settler};
use crate::aside::WAIT_UNKNOWN;
use crate::dedup::{Dedup, Lease, Recorded, Released};
use crate::queue::{Queue, Settlement};
use outbox_transport::Unsettled;

/// For a message whose lease was lost: by then the worker that has the lease now has recorded its result.
const LOST_LEASE_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// As a row and a log have it.
const SET_ASIDE: &str = "set_aside";

/// What became of one delivery in this round.
type Written = Result<(), Unsettled>;

impl<Q: Queue, D: Dedup> Settler<Q, D> {
    /// Returns what is still open.
    pub(super) async fn round(&self, mut batch: Vec<Open<Q::Receipt>>) -> Vec<Open<Q::Receipt>> {
        let mut written: Vec<Written> = batch.iter().map(|_| Ok(())).collect();
        self.record(&mut batch, &mut written).await;
        self.release(&mut batch, &mut written).await;
        self.settle(&batch, &mut written).await;
        self.set_aside(&batch, &written).await;
        self.tell(&batch, &written);
        let mut open = Vec::new();
        for (one, written) in batch.into_iter().zip(written) {
            match written {
                Ok(()) => {
                    let Decided { settlement, lease, in_flight, .. } = one.decided;
                    if let (Settlement::Dead { .. }, Some((lease, _))) = (settlement, lease) {
                        self.aside.settled(lease.event);
                    }
                    drop(in_flight);
                }
                // Its message comes back by itself, and nobody waits for that.
                Err(error) if one.recorded && error.is_refused() => {}
                Err(error) => open.push(one.again(error.is_refused())),
            }
        }
        open
    }

    /// Successes come first: whatever else fails, they must not be called again.
    async fn record(&self, batch: &mut [Open<Q::Receipt>], written: &mut [Written]) {
        let succeeded = |one: &Open<_>| match one.decided.lease {
            Some((lease, true)) if !one.recorded => Some(lease),
            _ => None,
        };
        let (places, leases): (Vec<usize>, Vec<Lease>) =
            batch.iter().enumerate().filter_map(|(at, one)| Some((at, succeeded(one)?))).unzip();
        if leases.is_empty() {
            return;
        }
        for ((at, lease), answer) in places.into_iter().zip(&leases).zip(self.dedup.complete(&leases).await) {
            match answer {
                Ok(Recorded::Written) => self.unrecorded.recorded([lease.event]),
                Ok(Recorded::Lost) => {
                    self.unrecorded.lost([lease.event], Instant::now());
                    self.meter.lost_lease();
                    batch[at].decided.settlement = lost_lease();
                }
                Err(error) => {
                    written[at] = Err(error);
                    continue;
                }
            }
            batch[at].recorded = true;
        }
    }

    /// A lease that can't be given back ends by itself.
    async fn release(&self, batch: &mut [Open<Q::Receipt>], written: &mut [Written]) {
        let failed = |one: &Open<_>| !one.recorded && !matches!(one.decided.lease, Some((_, true)));
        let mut places = Vec::new();
        let mut released = Vec::new();
        for (at, one) in batch.iter().enumerate().filter(|(_, one)| failed(one)) {
            if let Some(one) = self.released(one) {
                places.push(at);
                released.push(one);
            }
        }
        let answers = if released.is_empty() { Vec::new() } else { self.dedup.release(&released).await };
        drop(released);
        for one in batch.iter_mut().filter(|one| failed(one)) {
            one.recorded = true;
        }
        for (at, answer) in places.into_iter().zip(answers) {
            match answer {
                Err(error) if error.is_refused() => {
                    self.meter.failed("record");
                    tracing::warn!(rpc = %self.rpc, %error, "failed to give a lease back: it ends by itself");
                }
                Err(error) => {
                    batch[at].recorded = false;
                    written[at] = Err(error);
                }
                Ok(()) => {}
            }
        }
    }

    /// What is written to the record about a call that did not succeed.
    fn released<'a>(&self, one: &'a Open<Q::Receipt>) -> Option<Released<'a>> {
        let (lease, _) = one.decided.lease?;
        let (dead, code, error, waits) = match &one.decided.settlement {
            Settlement::Dead { code, reason } => (true, code, reason, None),
            Settlement::Retry { code, error, after, .. } => {
                let wait = self.queue.wait(&one.decided.receipt, *after);
                (false, code, error, (wait.hidden < wait.all).then_some(wait.all))
            }
            Settlement::Ack => return None,
        };
        Some(Released { lease, attempt: one.decided.attempt, dead, code, error, waits })
    }

    /// Only what is recorded.
    async fn settle(&self, batch: &[Open<Q::Receipt>], written: &mut [Written]) {
        let ready: Vec<usize> = (0..batch.len()).filter(|&at| written[at].is_ok()).collect();
        let settled: Vec<_> = ready
            .iter()
            .map(|&at| (batch[at].decided.receipt.clone(), batch[at].decided.settlement.clone()))
            .collect();
        if settled.is_empty() {
            return;
        }
        for (at, answer) in ready.into_iter().zip(self.queue.settle(&settled).await) {
            written[at] = answer;
        }
    }

    /// What the dead-letter queue refuses goes back into its own queue, and comes again later. Its RPC is not called for that.
    async fn set_aside(&self, batch: &[Open<Q::Receipt>], written: &[Written]) {
        let mut settled = Vec::new();
        for (one, written) in batch.iter().zip(written) {
            let (Err(error), Settlement::Dead { code, reason }) = (written, &one.decided.settlement) else {
                continue;
            };
            if !one.recorded || !error.is_refused() {
                continue;
            }
            let (after, counted) = match one.decided.lease {
                Some((lease, _)) => self.aside.set(lease.event, (code, reason), &error.code, Instant::now()),
                None => (WAIT_UNKNOWN, false),
            };
            let error = format!("its dead letter is refused ({error}); it is dead by {code}: {reason}");
            let back = Settlement::Retry { after, counted, code: SET_ASIDE.to_owned(), error };
            settled.push((one.decided.receipt.clone(), back));
        }
        if settled.is_empty() {
            return;
        }
        // If even this is refused, its message comes back when its visibility ends.
        self.queue.settle(&settled).await;
    }

    /// Says once for each cause what could not be written, and whether the lane moves.
    fn tell(&self, batch: &[Open<Q::Receipt>], written: &[Written]) {
        let errors =
            || batch.iter().zip(written).filter_map(|(one, written)| Some((one, written.as_ref().err()?)));
        for cause in Cause::ALL {
            let mut of_cause =
                errors().filter(|(one, error)| Cause::of(one, error) == cause).map(|(_, error)| error);
            let Some(error) = of_cause.next() else { continue };
            let deliveries = 1 + of_cause.count();
            self.meter.failed(cause.operation());
            tracing::warn!(rpc = %self.rpc, %error, deliveries, "{}", cause.words());
        }
        match errors().next() {
            Some((one, error)) if written.iter().all(Result::is_err) => {
                self.part.waits(format!("{}: {error}", Cause::of(one, error).words()));
            }
            _ => self.part.moves(),
        }
    }
}

/// Where a delivery stands that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Unrecorded,
    Unsettled,
    /// The dead-letter queue refuses it.
    SetAside,
    /// Its own queue refuses to let go of it, or to hide it.
    LetGo,
}

impl Cause {
    const ALL: [Cause; 4] = [Cause::Unrecorded, Cause::Unsettled, Cause::SetAside, Cause::LetGo];

    fn of<R>(one: &Open<R>, error: &Unsettled) -> Self {
        match &one.decided.settlement {
            _ if !one.recorded => Cause::Unrecorded,
            _ if !error.is_refused() => Cause::Unsettled,
            Settlement::Dead { .. } => Cause::SetAside,
            Settlement::Ack | Settlement::Retry { .. } => Cause::LetGo,
        }
    }

    fn operation(self) -> &'static str {
        if self == Cause::Unrecorded { "record" } else { "settle" }
    }

    fn words(self) -> &'static str {
        match self {
            Cause::Unrecorded => "failed to record what was decided: trying again",
            Cause::Unsettled => "failed to settle what is recorded: trying again",
            Cause::SetAside => "set aside: the dead-letter queue refuses it, and it comes again later",
            Cause::LetGo => "failed to settle what is recorded: it comes back when its visibility ends",
        }
    }
}

fn lost_lease() -> Settlement {
    Settlement::Retry {
        after: LOST_LEASE_WAIT,
        counted: false,
        code: "lost_lease".to_owned(),
        error: "the call outlived its lease: another worker may have called too".to_owned(),
    }
}
