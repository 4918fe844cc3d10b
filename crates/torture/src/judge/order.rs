//! The order of a key's events, and the way of the cursor.

use std::collections::HashMap;

use outbox::EventId;

use super::{Facts, Findings};
use crate::faults::Fault;
use crate::history::{Change, Spell};
use crate::routes::Rpc;

impl Facts<'_> {
    /// Events of a key take effect on the bus in the order of its changes: none begins before the one before it is done for
    /// the first time.
    pub(super) fn order(&self, found: &mut Findings) {
        /// Tick and count of the change, of any process.
        type First<'a> = (i64, i64, i64, &'a Change);
        let mut firsts: HashMap<(EventId, Option<Rpc>), (i64, i64)> = HashMap::new();
        for put in &self.history.puts {
            let first = firsts.entry((put.event, put.rpc)).or_insert((i64::MAX, i64::MAX));
            *first = (first.0.min(put.begun), first.1.min(put.done));
        }
        let mut keys: HashMap<(&str, Option<Rpc>), Vec<First<'_>>> = HashMap::new();
        for ((event, rpc), (begun, done)) in firsts {
            let Some(change) = self.committed.get(&event) else { continue };
            if let Some(key) = &change.key {
                keys.entry((key, rpc)).or_default().push((change.n, begun, done, change));
            }
        }
        for ((key, rpc), mut puts) in keys {
            puts.sort_unstable_by_key(|(n, begun, done, _)| (*n, *begun, *done));
            for pair in puts.windows(2) {
                let ((n, _, done, one), (later, begun, _, other)) = (pair[0], pair[1]);
                if begun < done && !self.set_back_between(one, other) {
                    let (event, other) = (one.event, other.event);
                    let to = rpc.map_or("the bus", Rpc::name);
                    found.add(
                        "order",
                        format!(
                            "{key}: change {later} ({other}) was put to {to} before change {n} ({event})"
                        ),
                    );
                }
            }
        }
    }

    /// A later change of a key waited for the earlier one's lock and drew a lower seq: the sequence was set back between
    /// them. The relay has no order except the seqs.
    fn set_back_between(&self, earlier: &Change, later: &Change) -> bool {
        self.history.spells.iter().any(|spell| spell.fault == Fault::SequencesSetBack)
            && (later.seq < earlier.seq || later.seq < later.seq_before)
    }

    /// The cursor advances; only a crash may set it back to a durable state.
    pub(super) fn cursor(&self, found: &mut Findings) {
        for pair in self.history.cursor.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let crashed = |spell: &Spell| {
                spell.fault == Fault::PostgresCrashed && spell.at <= after.at && spell.until >= before.at
            };
            if after.last_seq < before.last_seq && !self.history.spells.iter().any(crashed) {
                found.add(
                    "cursor_went_back",
                    format!(
                        "from {} to {} at {:.1} s",
                        before.last_seq,
                        after.last_seq,
                        after.at.as_secs_f64()
                    ),
                );
            }
        }
    }
}
