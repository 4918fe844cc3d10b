//! Limits the calls per second to what an RPC allows. Pure; the clock is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket. It fills at the rate, and holds the calls of a quarter of a second, or one.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_second), tokens: 1.0, filled_at: now }
    }

    /// This rate; or another one, if the limit has changed.
    pub(crate) fn kept(rate: Option<Self>, per_second: Option<u32>, now: Instant) -> Option<Self> {
        let wanted = per_second?;
        rate.filter(|rate| rate.per_second == f64::from(wanted)).or_else(|| Some(Self::new(wanted, now)))
    }

    /// How many calls may begin, or how long it takes until one may.
    pub(crate) fn allowed(&mut self, now: Instant) -> Result<usize, Duration> {
        let filled = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + filled).min((self.per_second / 4.0).max(1.0));
        self.filled_at = now;
        if self.tokens >= 1.0 {
            return Ok(self.tokens as usize);
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }

    pub(crate) fn began(&mut self, calls: usize) {
        self.tokens -= calls as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a rate is kept while its limit is the same, so that looking at it permits no call. Another limit holds at once.
    #[tokio::test]
    async fn a_rate_follows_its_limit() {
        let now = Instant::now();
        let mut rate = Rate::kept(None, Some(1), now);
        rate.as_mut().unwrap().began(1);
        rate = Rate::kept(rate, Some(1), now);
        assert!(rate.as_mut().unwrap().allowed(now).is_err(), "its only call has begun");
        rate = Rate::kept(rate, Some(100), now);
        assert_eq!(rate.as_mut().unwrap().allowed(now), Ok(1));
        assert!(Rate::kept(rate, None, now).is_none());
    }

    /// Guards: at any rate, at most the rate and a quarter begin in a second, and exactly the rate over a minute.
    #[tokio::test]
    async fn calls_keep_to_the_rate() {
        for per_second in [1, 3, 50, 10_000] {
            let start = Instant::now();
            let mut rate = Rate::new(per_second, start);
            let (mut now, mut began) = (start, Vec::new());
            while now < start + Duration::from_secs(60) {
                match rate.allowed(now) {
                    Ok(calls) => {
                        rate.began(calls);
                        began.extend(std::iter::repeat_n(now, calls));
                    }
                    Err(wait) => now += wait + Duration::from_micros(1),
                }
            }
            let many = began.len() as f64 / 60.0;
            let wanted = f64::from(per_second);
            assert!((wanted * 0.98 - 1.0..=wanted + 1.0).contains(&many), "{per_second}/s became {many}/s");
            let most = began
                .iter()
                .enumerate()
                .map(|(at, first)| {
                    began[at..].partition_point(|call| *call < *first + Duration::from_secs(1))
                })
                .max();
            assert!(most.unwrap() as f64 <= wanted * 1.25 + 1.0, "{per_second}/s: {most:?} in a second");
        }
    }
}
