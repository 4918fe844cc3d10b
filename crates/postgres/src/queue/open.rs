use std::collections::HashMap;

use outbox_runtime::Guarded;

/// The unsettled deliveries of each claimed batch, by the claim's token, which is no other claim's. At zero the claim is closed.
#[derive(Debug, Default)]
pub(crate) struct Open(Guarded<HashMap<i64, usize>>);

impl Open {
    /// One more delivery of this claim was received.
    pub(super) fn received(&self, token: i64) {
        *self.0.lock().entry(token).or_default() += 1;
    }

    /// The claims without an open delivery after these, one of each token.
    pub(crate) fn closed_by(&self, tokens: impl Iterator<Item = i64>) -> Vec<i64> {
        let open = self.0.lock();
        let mut left: HashMap<i64, usize> = HashMap::new();
        for token in tokens {
            if let Some(&of_claim) = open.get(&token) {
                let left = left.entry(token).or_insert(of_claim);
                *left = left.saturating_sub(1);
            }
        }
        left.into_iter().filter(|&(_, left)| left == 0).map(|(token, _)| token).collect()
    }

    /// Only after a successful write, because a failed one is repeated.
    pub(super) fn settled(&self, tokens: impl Iterator<Item = i64>) {
        let mut open = self.0.lock();
        for token in tokens {
            if let Some(left) = open.get_mut(&token) {
                *left = left.saturating_sub(1);
            }
        }
        open.retain(|_, left| *left > 0);
    }

    /// These claims are closed, or stay open until they end.
    pub(crate) fn forget(&self, tokens: impl Iterator<Item = i64>) {
        let mut open = self.0.lock();
        tokens.for_each(|token| _ = open.remove(&token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 3: a claim is closed by its last delivery, and by no delivery twice.
    #[test]
    fn the_last_delivery_closes_its_claim() {
        let open = Open::default();
        [1, 1, 1, 2].into_iter().for_each(|token| open.received(token));
        let closed_by = |tokens: &[i64]| open.closed_by(tokens.iter().copied());
        assert!(closed_by(&[1, 1]).is_empty(), "one is left");
        assert_eq!(closed_by(&[1, 1, 1]), [1]);
        assert!(closed_by(&[3]).is_empty(), "not received here");
        assert_eq!(closed_by(&[2, 1]), [2], "nothing was counted by asking");
        open.settled([1, 1].into_iter());
        assert_eq!(closed_by(&[1]), [1]);
        open.forget([1].into_iter());
        assert!(closed_by(&[1]).is_empty());
    }
}
