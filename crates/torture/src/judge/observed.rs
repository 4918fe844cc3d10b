//! What was observed: the reason for each event of a fallback poll, and whether anything was observed at all.

use std::collections::HashSet;
use std::time::Duration;

use outbox::EventId;

use super::{Facts, Findings};
use crate::fleet::SOURCE;
use crate::history::Spell;

/// A relay may miss notifications a little longer than the fault lasted: its fallback poll comes every 5 s.
const MUTED_FOR: Duration = Duration::from_secs(6);

impl Facts<'_> {
    /// The fallback poll finds events only for a reason. A fault kept the notification from the relay, or prepared
    /// transactions committed as many without one.
    pub(super) fn wake_ups(&self, found: &mut Findings) {
        for poll in &self.history.found {
            let muted = |spell: &Spell| {
                spell.fault.may_keep_notifications()
                    && spell.at <= poll.to
                    && spell.until + MUTED_FOR >= poll.from
            };
            let silent = self.history.silent.iter().filter(|silent| {
                poll.source == SOURCE && silent.from <= poll.to && silent.to + MUTED_FOR >= poll.from
            });
            let silent: usize = silent.map(|silent| silent.events).sum();
            if !self.history.spells.iter().any(muted) && poll.events > silent as u64 {
                found.add(
                    "found_by_fallback",
                    format!(
                        "{}: the fallback poll found {} events of {} between {:.1} and {:.1} s, {silent} of prepared transactions",
                        poll.relay,
                        poll.events,
                        poll.source,
                        poll.from.as_secs_f64(),
                        poll.to.as_secs_f64()
                    ),
                );
            }
        }
    }

    /// Without observations a run proves nothing.
    pub(super) fn blind_spots(&self, found: &mut Findings) {
        let seen: HashSet<EventId> = self.history.puts.iter().map(|put| put.event).collect();
        for &(event, rpc) in self.calls.keys() {
            if !seen.contains(&event) {
                found.add("blind", format!("{event}: {} was called, and no put was observed", rpc.name()));
            }
        }
        if self.history.cursor.is_empty() {
            found.add("blind", "the cursor was never observed".to_owned());
        }
        if self.history.looks == 0 {
            found.add("blind", "the relays' metrics were never read".to_owned());
        }
    }
}
