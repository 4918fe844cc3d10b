//! Pure: whether the calls of an RPC fail, whichever worker makes them.

use outbox_transport::process::{LastError, RpcReport};

/// Calls that failed since one succeeded, in all workers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Failing {
    pub(crate) in_row: u64,
    pub(crate) error: Option<LastError>,
    /// Whether no worker has succeeded since that error.
    pub(crate) since_success: bool,
}

impl Failing {
    pub(super) fn of<'a>(reports: impl Iterator<Item = &'a RpcReport>) -> Self {
        let (mut failing, mut succeeded_at) = (Self::default(), None);
        for report in reports {
            failing.in_row += report.failed_in_row;
            succeeded_at = succeeded_at.max(report.succeeded_at);
            let errors = failing.error.iter().chain(&report.last_error);
            failing.error = errors.max_by_key(|error| error.at).cloned();
        }
        failing.since_success = failing.error.as_ref().is_some_and(|error| Some(error.at) > succeeded_at);
        failing
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn report(failed_in_row: u64, error_at: Option<i64>, succeeded_at: Option<i64>) -> RpcReport {
        let at = |seconds: i64| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
        let last_error =
            error_at.map(|seconds| LastError { code: "internal".into(), text: "no".into(), at: at(seconds) });
        let succeeded_at = succeeded_at.map(at);
        RpcReport { failed_in_row, last_error, succeeded_at, ..RpcReport::default() }
    }

    /// Guards promise 8: failures count over all workers, and a later success of any of them ends them.
    #[test]
    fn a_success_of_any_worker_ends_it() {
        for (reports, in_row, since_success) in [
            (vec![], 0, false),
            (vec![report(3, Some(9), None), report(2, Some(8), Some(1))], 5, true),
            (vec![report(5, Some(9), None), report(0, None, Some(10))], 5, false),
            (vec![report(0, Some(3), Some(4))], 0, false),
        ] {
            let failing = Failing::of(reports.iter());
            assert_eq!((failing.in_row, failing.since_success), (in_row, since_success), "{reports:?}");
        }
    }
}
