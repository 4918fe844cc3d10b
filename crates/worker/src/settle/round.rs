//! One round: records successes, gives leases back, and then settles messages.

use tokio::time::Instant;

use super::{Decided, Open, Settler};
use crate::aside::WAIT_UNKNOWN;
use outbox_transport::{Again, Dedup, LOST_LEASE, Lease, Outcome, Queue, Recorded, Released, Unsettled};

/// For a message whose lease was lost: by then the worker that has the lease now has recorded its result.
const LOST_LEASE_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// The code in rows and logs.
const SET_ASIDE: &str = "set_aside";

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
                    let Decided { outcome, lease, tracked, .. } = one.decided;
                    if let (Some(_), Some(lease)) = (outcome.dead(), lease) {
                        self.aside.settled(lease.event);
                    }
                    drop(tracked);
                }
                // Its message comes back by itself, and the settler does not wait for that.
                Err(error) if one.recorded && error.is_refused() => {}
                Err(error) => open.push(one.again(error.is_refused())),
            }
        }
        open
    }

    /// Successes come first: whatever else fails, they must not be called again.
    async fn record(&self, batch: &mut [Open<Q::Receipt>], written: &mut [Written]) {
        let succeeded = |one: &Open<_>| one.decided.lease.filter(|_| !one.recorded && one.has_succeeded());
        let (places, leases): (Vec<usize>, Vec<Lease>) =
            batch.iter().enumerate().filter_map(|(at, one)| Some((at, succeeded(one)?))).unzip();
        if leases.is_empty() {
            return;
        }
        for ((at, lease), answer) in places.into_iter().zip(&leases).zip(self.dedup.complete(&leases).await) {
            match answer {
                Ok(Recorded::Written) => self.unrecorded.recorded(lease.event),
                Ok(Recorded::Lost) => {
                    self.unrecorded.lost([lease.event], Instant::now());
                    self.metrics.lost_lease();
                    batch[at].decided.outcome = lost_lease();
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
        let failed = |one: &Open<_>| !one.recorded && !one.has_succeeded();
        let leased = batch.iter().enumerate().filter(|(_, one)| failed(one));
        let (places, released): (Vec<usize>, Vec<Released>) =
            leased.filter_map(|(at, one)| Some((at, self.released(one)?))).unzip();
        let answers = if released.is_empty() { Vec::new() } else { self.dedup.release(&released).await };
        for one in batch.iter_mut().filter(|one| failed(one)) {
            one.recorded = true;
        }
        for (at, answer) in places.into_iter().zip(answers) {
            match answer {
                Err(error) if error.is_refused() => {
                    self.metrics.failed("record");
                    tracing::warn!(rpc = %self.metrics.rpc, %error, "failed to give a lease back: it ends by itself");
                }
                Err(error) => {
                    batch[at].recorded = false;
                    written[at] = Err(error);
                }
                Ok(()) => {}
            }
        }
    }

    /// What the record keeps about a call without a success.
    fn released(&self, one: &Open<Q::Receipt>) -> Option<Released> {
        let Decided { receipt, attempt, outcome, lease, .. } = &one.decided;
        let waits = match outcome {
            Outcome::Retry { after, .. } => {
                let wait = self.queue.wait(receipt, *after);
                (wait.hidden < wait.all).then_some(wait.all)
            }
            _ => None,
        };
        Some(Released { lease: (*lease)?, attempt: *attempt, outcome: outcome.clone(), waits })
    }

    /// Settles only deliveries that are recorded.
    async fn settle(&self, batch: &[Open<Q::Receipt>], written: &mut [Written]) {
        let ready: Vec<usize> = (0..batch.len()).filter(|&at| written[at].is_ok()).collect();
        let settled: Vec<_> = ready
            .iter()
            .map(|&at| (batch[at].decided.receipt.clone(), batch[at].decided.outcome.clone()))
            .collect();
        if settled.is_empty() {
            return;
        }
        for (at, answer) in ready.into_iter().zip(self.queue.settle(&settled).await) {
            written[at] = answer;
        }
    }

    /// What the dead-letter queue refuses goes back into its own queue, and comes again later without a call.
    async fn set_aside(&self, batch: &[Open<Q::Receipt>], written: &[Written]) {
        let mut settled = Vec::new();
        for (one, written) in batch.iter().zip(written) {
            let (Err(error), Some((code, reason))) = (written, one.decided.outcome.dead()) else { continue };
            if !one.recorded || !error.is_refused() {
                continue;
            }
            let (after, again) = match one.decided.lease {
                Some(lease) => self.aside.set(lease.event, (code, reason), &error.code, Instant::now()),
                None => (WAIT_UNKNOWN, Again::Postponed),
            };
            let error = format!("its dead letter is refused ({error}); it is dead by {code}: {reason}");
            let back = Outcome::Retry { again, after, code: SET_ASIDE, error };
            settled.push((one.decided.receipt.clone(), back));
        }
        if settled.is_empty() {
            return;
        }
        // If even this is refused, its message comes back when its visibility ends.
        self.queue.settle(&settled).await;
    }

    /// Reports each cause once, and whether the consumer makes progress.
    fn tell(&self, batch: &[Open<Q::Receipt>], written: &[Written]) {
        let errors =
            || batch.iter().zip(written).filter_map(|(one, written)| Some((one, written.as_ref().err()?)));
        for cause in Cause::ALL {
            let mut of_cause =
                errors().filter(|(one, error)| Cause::of(one, error) == cause).map(|(_, error)| error);
            let Some(error) = of_cause.next() else { continue };
            let deliveries = 1 + of_cause.count();
            self.metrics.failed(cause.operation());
            tracing::warn!(rpc = %self.metrics.rpc, %error, deliveries, "{}", cause.words());
        }
        match errors().next() {
            Some((one, error)) if written.iter().all(Result::is_err) => {
                self.part.waits(format!("{}: {error}", Cause::of(one, error).words()));
            }
            _ => self.part.moves(),
        }
    }
}

/// Why a delivery is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Unrecorded,
    Unsettled,
    /// The dead-letter queue refuses it.
    SetAside,
    /// Its own queue refuses to delete it or to hide it.
    LetGo,
}

impl Cause {
    const ALL: [Cause; 4] = [Cause::Unrecorded, Cause::Unsettled, Cause::SetAside, Cause::LetGo];

    fn of<R>(one: &Open<R>, error: &Unsettled) -> Self {
        match one.decided.outcome.dead() {
            _ if !one.recorded => Cause::Unrecorded,
            _ if !error.is_refused() => Cause::Unsettled,
            Some(_) => Cause::SetAside,
            None => Cause::LetGo,
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

fn lost_lease() -> Outcome {
    let error = "the call outlived its lease: another worker may have called too";
    Outcome::retry(Again::Postponed, LOST_LEASE_WAIT, LOST_LEASE, error)
}
