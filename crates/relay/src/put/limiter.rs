use outbox_transport::{PutError, PutErrorKind};

/// How many packs may be under way: half as many when the bus is overloaded, and one more after each other answer.
#[derive(Debug, Default)]
pub(crate) struct PutLimiter {
    /// The difference to the full concurrency.
    held_back: usize,
}

impl PutLimiter {
    pub(super) fn allowed(&self, concurrency: usize) -> usize {
        concurrency.saturating_sub(self.held_back).max(1)
    }

    pub(super) fn heard(&mut self, results: &[Result<(), PutError>], concurrency: usize) {
        let too_much = results.iter().any(|result| is(result, PutErrorKind::Unavailable));
        if too_much || results.iter().all(|result| is(result, PutErrorKind::Failed)) {
            let allowed = self.allowed(concurrency);
            self.held_back = concurrency - (allowed / 2).max(1);
        } else {
            self.held_back = self.held_back.saturating_sub(1);
        }
    }
}

fn is(result: &Result<(), PutError>, kind: PutErrorKind) -> bool {
    result.as_ref().is_err_and(|error| error.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: throttling halves the concurrency, which recovers only step by step.
    #[test]
    fn throttling_slows_the_putter() {
        let busy = [Ok(()), Err(PutError::new(PutErrorKind::Unavailable, "ThrottlingException", ""))];
        let mut limiter = PutLimiter::default();
        let mut allowed = vec![limiter.allowed(16)];
        for results in [&busy[..], &busy, &busy, &busy, &busy, &busy[..1], &busy[..1]] {
            limiter.heard(results, 16);
            allowed.push(limiter.allowed(16));
        }
        assert_eq!(allowed, [16, 8, 4, 2, 1, 1, 2, 3]);
    }
}
