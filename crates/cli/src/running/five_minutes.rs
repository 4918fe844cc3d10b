//! Pure: the last five minutes of an RPC, by all workers that run.

use std::collections::BTreeMap;

use outbox_runtime::SECONDS_BOUNDS;
use outbox_transport::process::RpcReport;
use serde::Serialize;

/// The names are stable. What is `null` is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct FiveMinutes {
    /// Calls that ended, by their answer.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The same calls by their time.
    pub(crate) took: Vec<Took>,
    /// Half of the calls took no longer. `null` without a call.
    pub(crate) p50: Option<Bound>,
    pub(crate) p99: Option<Bound>,
    /// Messages that came into the queue, and those that left it, done or dead.
    pub(crate) come_per_second: Option<f64>,
    pub(crate) leave_per_second: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Took {
    #[serde(flatten)]
    pub(crate) bound: Bound,
    pub(crate) calls: u64,
}

/// A histogram knows a time between two bounds, and no better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Bound {
    pub(crate) more_than_seconds: f64,
    /// `null` above the last bound.
    pub(crate) at_most_seconds: Option<f64>,
}

impl FiveMinutes {
    /// `None` if no worker reports it, or one of an older version does not know it.
    pub(super) fn of<'a>(reports: impl Iterator<Item = &'a RpcReport>) -> Option<Self> {
        let all: Option<Vec<_>> = reports.map(|report| report.five_minutes.as_ref()).collect();
        let all = all.filter(|all| !all.is_empty())?;
        let (mut codes, mut took) = (BTreeMap::<String, u64>::new(), Vec::<Took>::new());
        for one in &all {
            for (code, calls) in &one.codes {
                let sum = codes.entry(code.clone()).or_default();
                *sum = sum.saturating_add(*calls);
            }
            for (at_most, calls) in &one.took {
                let bound = Bound::to(*at_most);
                match took.iter_mut().find(|took| took.bound == bound) {
                    Some(took) => took.calls = took.calls.saturating_add(*calls),
                    None => took.push(Took { bound, calls: *calls }),
                }
            }
        }
        took.sort_by(|one, other| one.bound.order().total_cmp(&other.bound.order()));
        // A worker that has just started does not know how many left, so the sum is not known.
        let leave: Option<f64> = all.iter().map(|one| one.leave_per_second).sum();
        // Each that measures the queue measures all of it.
        let grows: Vec<f64> = all.iter().filter_map(|one| one.grows_per_second).collect();
        let grows = (!grows.is_empty()).then(|| grows.iter().sum::<f64>() / grows.len() as f64);
        Some(Self {
            p50: at_most(&took, 0.5),
            p99: at_most(&took, 0.99),
            come_per_second: leave.zip(grows).map(|(leave, grows)| (leave + grows).max(0.0)),
            leave_per_second: leave,
            codes,
            took,
        })
    }
}

impl Bound {
    fn to(at_most_seconds: Option<f64>) -> Self {
        let before = |bound: &f64| at_most_seconds.is_none_or(|at_most| *bound < at_most);
        let more_than_seconds = SECONDS_BOUNDS.into_iter().rfind(before).unwrap_or(0.0);
        Self { more_than_seconds, at_most_seconds }
    }

    fn order(&self) -> f64 {
        self.at_most_seconds.unwrap_or(f64::INFINITY)
    }
}

/// Where this part of the calls ends.
fn at_most(took: &[Took], part: f64) -> Option<Bound> {
    let all = took.iter().fold(0_u64, |all, one| all.saturating_add(one.calls));
    let wanted = (all as f64 * part).ceil() as u64;
    let mut calls = 0_u64;
    let found = took.iter().find(|one| {
        calls = calls.saturating_add(one.calls);
        calls >= wanted
    });
    found.map(|one| one.bound)
}

#[cfg(test)]
mod tests {
    use outbox_transport::process::FiveMinutes as Reported;

    use super::*;

    fn report(took: &[(Option<f64>, u64)], leave: Option<f64>, grows: Option<f64>) -> RpcReport {
        let calls = took.iter().map(|(_, calls)| calls).sum();
        let five_minutes = Reported {
            codes: [("ok".to_owned(), calls)].into(),
            took: took.to_vec(),
            leave_per_second: leave,
            grows_per_second: grows,
        };
        RpcReport { five_minutes: Some(five_minutes), ..RpcReport::default() }
    }

    /// Guards promise 8: calls of several workers are added up, and a percentile is a bound. What one worker does not know is
    /// not known.
    #[test]
    fn workers_are_added_up() {
        let (ten, fifteen) = (Some(10.0), Some(15.0));
        let one = report(&[(ten, 97)], Some(2.0), Some(21.5));
        let other = report(&[(fifteen, 2), (ten, 1)], Some(1.5), None);
        let both = FiveMinutes::of([&one, &other].into_iter()).unwrap();
        assert_eq!(both.codes, [("ok".to_owned(), 100)].into());
        let bound = |more_than_seconds, at_most_seconds| Bound { more_than_seconds, at_most_seconds };
        let took = [(bound(7.5, ten), 98), (bound(10.0, fifteen), 2)];
        assert_eq!(both.took, took.map(|(bound, calls)| Took { bound, calls }));
        assert_eq!((both.p50, both.p99), (Some(bound(7.5, ten)), Some(bound(10.0, fifteen))));
        assert_eq!((both.come_per_second, both.leave_per_second), (Some(25.0), Some(3.5)));

        let hangs = report(&[(None, 1)], None, Some(1.0));
        let told = FiveMinutes::of([&one, &hangs].into_iter()).unwrap();
        assert_eq!((told.come_per_second, told.leave_per_second), (None, None));
        assert_eq!(FiveMinutes::of([&hangs].into_iter()).unwrap().p50, Some(bound(600.0, None)));

        let quiet = FiveMinutes::of([&report(&[], Some(0.0), None)].into_iter()).unwrap();
        assert_eq!((quiet.p50, quiet.leave_per_second, quiet.come_per_second), (None, Some(0.0), None));
        let older = RpcReport::default();
        assert_eq!(FiveMinutes::of([&one, &older].into_iter()), None);
        assert_eq!(FiveMinutes::of([].into_iter()), None);
    }

    /// Guards promise 8: the bound is that of the first call which this part includes.
    #[test]
    fn a_percentile_is_a_bound() {
        for (few, many, part, at_most) in [
            (1, 99, 0.5, 5.0),
            (1, 99, 0.99, 5.0),
            (99, 1, 0.99, 1.0),
            (98, 2, 0.99, 5.0),
            (1, 1, 0.5, 1.0),
            (1, 0, 0.99, 1.0),
        ] {
            let took = [(1.0, few), (5.0, many)].map(|(at_most, calls)| (Some(at_most), calls));
            let took: Vec<Took> =
                took.into_iter().map(|(at, calls)| Took { bound: Bound::to(at), calls }).collect();
            let bound = super::at_most(&took, part).unwrap();
            assert_eq!(bound.at_most_seconds, Some(at_most), "{few} and {many}, {part}");
        }
    }

    /// Guards SECURITY.md: any numbers that a role can write are read.
    #[test]
    fn any_numbers_are_read() {
        let odd = report(&[(Some(-1.0), u64::MAX / 2), (None, u64::MAX / 2)], Some(1e308), Some(-1e308));
        let told = FiveMinutes::of([&odd, &odd, &odd].into_iter()).unwrap();
        assert!(told.p99.is_some() && told.codes["ok"] == u64::MAX);
    }
}
