//! Calls after a success, and the faults that excuse them.

use std::time::Duration;

use super::{Excused, Facts, Findings};
use crate::faults::{CLOCK_OFF_MAX, Fault};
use crate::history::{Answer, At, Call};

/// The time for a record after a success, on any machine: a later fault does not excuse a missing record.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
/// A worker's lease outlives a call by this time.
const LEASE_BEYOND_CALL: Duration = Duration::from_secs(3);
/// A worker that was paused in the middle of a call makes the call when it continues.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);
/// The end of a pause is noted after the process has gone on, and later on a busy machine.
const NOTED_WITHIN: Duration = Duration::from_millis(300);

impl Facts<'_> {
    /// No call follows a success, unless a fault came between the success and its record.
    pub(super) fn repeats(&self, found: &mut Findings) -> Vec<Excused> {
        let mut excused = Vec::new();
        for (&(event, rpc), calls) in &self.calls {
            let Some((first, done)) = self.succeeded(event, rpc) else { continue };
            let again = calls.iter().filter(|call| {
                let succeeded = matches!(call.answer, Some((Answer::Success, _)));
                **call != first && (call.came > done || succeeded)
            });
            let mut last = first;
            for call in again {
                match self.excuse(&last, call).or_else(|| self.stood_still(call, done)) {
                    Some(because) => excused.push(Excused { event, rpc: rpc.name(), because }),
                    None => found.add(
                        "called_again",
                        format!(
                            "{event} at {}: done by {} at {:.3} s (attempt {}), called by {} at {:.3} s (attempt {})",
                            rpc.name(),
                            first.worker,
                            done.as_secs_f64(),
                            first.attempt,
                            call.worker,
                            call.came.as_secs_f64(),
                            call.attempt
                        ),
                    ),
                }
                // A failed call is tried again.
                if matches!(call.answer, Some((Answer::Success, _))) {
                    last = *call;
                }
            }
        }
        excused.sort_by_key(|repeat| repeat.event);
        excused
    }

    /// The fault that affected the worker between the success `first` and the call `again`.
    fn excuse(&self, first: &Call, again: &Call) -> Option<String> {
        let (_, done) = first.answer?;
        let (from, to) = (first.came.min(again.came), first.came.max(again.came));
        let mut between = self.history.spells.iter().filter(|spell| {
            spell.fault.parts_success_from_record(self.history.transport)
                && (!spell.fault.meets_a_worker() || spell.whom == first.worker)
                && spell.at <= to.min(done + RECORDED_WITHIN)
                && spell.until >= from
        });
        if let Some(spell) = between.next() {
            return Some(format!(
                "{} ({}) at {:.1} s",
                spell.fault.name(),
                spell.whom,
                spell.at.as_secs_f64()
            ));
        }
        // The record was not written before the lease ended, so another worker may have had it.
        let mut delays = self.history.spells.iter().filter(|spell| {
            spell.fault.delays_the_record()
                && spell.at <= to.min(done + RECORDED_WITHIN)
                && spell.until >= from
        });
        if again.came >= done + LEASE_BEYOND_CALL
            && let Some(spell) = delays.next()
        {
            return Some(format!(
                "{} at {:.1} s, and a lease ended",
                spell.fault.name(),
                spell.at.as_secs_f64()
            ));
        }
        let unheard = self.history.unheard.contains(&(first.event, first.rpc, first.attempt));
        unheard.then(|| "the worker did not wait for the answer any longer".to_owned())
    }

    /// The pause in the middle of a call: it began before `done`, and the call was made after it.
    fn stood_still(&self, call: &Call, done: At) -> Option<String> {
        let spell = self.history.spells.iter().find(|spell| {
            spell.fault == Fault::WorkerPaused
                && spell.whom == call.worker
                && spell.at <= done
                && (spell.until.saturating_sub(NOTED_WITHIN)..=spell.until + RESUMED_WITHIN)
                    .contains(&call.came)
        })?;
        Some(format!(
            "worker_paused ({}) at {:.1} s, in the middle of a call",
            spell.whom,
            spell.at.as_secs_f64()
        ))
    }

    /// A recorded success is not called again, except by a worker that was paused in the middle of that call.
    pub(super) fn after_the_record(&self, found: &mut Findings) -> Vec<Excused> {
        let mut excused = Vec::new();
        for (&(event, rpc), recorded) in &self.history.recorded {
            let calls = self.calls.get(&(event, rpc)).into_iter().flatten();
            // The recording clock may have been behind.
            for call in calls.filter(|call| call.came > *recorded + CLOCK_OFF_MAX) {
                if let Some(because) = self.stood_still(call, *recorded) {
                    excused.push(Excused { event, rpc: rpc.name(), because });
                    continue;
                }
                found.add(
                    "called_after_record",
                    format!(
                        "{event} at {}: recorded as done at {:.3} s, called by {} at {:.3} s (attempt {})",
                        rpc.name(),
                        recorded.as_secs_f64(),
                        call.worker,
                        call.came.as_secs_f64(),
                        call.attempt
                    ),
                );
            }
        }
        excused
    }
}
