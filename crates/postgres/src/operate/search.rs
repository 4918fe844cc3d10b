//! Finds a time in a log that is ordered by seq, without an index on time.

use chrono::{DateTime, TimeDelta, Utc};
use outbox_transport::operate::{At, OperateError};

/// Each step reads so many rows, evenly spread.
const SAMPLES: i64 = 8;
/// The clock of this machine may be behind the database's.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);
/// A smaller range is read as a whole.
const SMALL: i64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seqs {
    pub first: i64,
    pub last: i64,
}

/// Narrows `all` to a range that holds every row of a time from `from` to `to`.
///
/// `sample` returns, for each given seq, the time of the first row from there on. Times follow seqs, except for concurrent rows
/// and for retried events, which keep their old time at a new seq. So the lower end stays two samples below the first row that
/// is young enough. Thousands of retried events in a row then do no harm.
pub(super) async fn narrow<F>(
    all: Seqs,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    sample: impl Fn(Vec<i64>) -> F,
) -> Result<Seqs, OperateError>
where
    F: Future<Output = Result<Vec<(i64, DateTime<Utc>)>, OperateError>>,
{
    let first = bracket(all, from, &sample).await?.first;
    let last = bracket(Seqs { first, ..all }, to, &sample).await?.last;
    Ok(Seqs { first, last })
}

/// The samples with a plausible time. Rows without a date are ignored, and rows of a clock that was ahead.
pub(super) fn known(samples: Vec<(i64, At)>) -> Vec<(i64, DateTime<Utc>)> {
    let latest = Utc::now() + CLOCKS_DIFFER;
    let known =
        samples.into_iter().filter_map(|(seq, at)| Some((seq, at.known().filter(|at| *at <= latest)?)));
    known.collect()
}

/// Rows before the range are older than `at`; rows after it are not.
async fn bracket<F>(
    mut range: Seqs,
    at: DateTime<Utc>,
    sample: &impl Fn(Vec<i64>) -> F,
) -> Result<Seqs, OperateError>
where
    F: Future<Output = Result<Vec<(i64, DateTime<Utc>)>, OperateError>>,
{
    while range.last - range.first > SMALL {
        let step = (range.last - range.first) / (SAMPLES + 1);
        let asked: Vec<i64> = (1..=SAMPLES).map(|n| range.first + n * step).collect();
        let seen = sample(asked).await?;
        let young = seen.iter().position(|&(_, time)| time > at);
        let before = young.unwrap_or(seen.len()).checked_sub(2).map(|before| seen[before].0);
        let narrower = Seqs {
            first: before.unwrap_or(range.first),
            last: young.map_or(range.last, |young| seen[young].0),
        };
        if narrower == range {
            break;
        }
        range = narrower;
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Guards: the range holds every row of a time, is small, and needs few reads. That holds with holes in the seqs and with
    /// thousands of retried old rows.
    #[tokio::test]
    async fn every_row_of_the_time_is_in_the_range() {
        // One row a second, with a hole. Rows 600,000 to 603,000 were retried and have the time of the beginning.
        let exists = |seq: i64| !(200_000..400_000).contains(&seq);
        let at = |seq: i64| time(if (600_000..603_000).contains(&seq) { 17 } else { seq });
        let all = Seqs { first: 1, last: 1_000_000 };
        for from in [0, 5, 199_990, 300_000, 399_999, 599_000, 601_500, 604_000, 999_990, 2_000_000] {
            let asked = AtomicUsize::new(0);
            let sample = |seqs: Vec<i64>| {
                asked.fetch_add(1, Ordering::Relaxed);
                let rows = seqs.into_iter().filter_map(|seq| (seq..=1_000_000).find(|&seq| exists(seq)));
                let rows: Vec<_> = rows.map(|seq| (seq, at(seq))).collect();
                async { Ok(rows) }
            };
            let range = narrow(all, time(from), time(from + 100), sample).await.unwrap();
            for seq in (from.max(1)..=from + 100).filter(|seq| *seq <= 1_000_000 && exists(*seq)) {
                if at(seq) >= time(from) {
                    assert!((range.first..=range.last).contains(&seq), "{seq} of {from} is not in {range:?}");
                }
            }
            assert!(range.last - range.first <= 2 * SMALL + 250_000, "{range:?} for {from}");
            assert!(asked.load(Ordering::Relaxed) < 20, "{asked:?}");
        }
    }
}
