//! Folds small receipts, so that a queue with small batches costs no more than others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::turns::Ran;
use crate::interval;

/// The receipts that one statement folds.
const FOLDED_MAX: i32 = 20_000;
/// A receipt is mostly committed within this time after the time in it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);
/// A minute is folded this long after its end. Most of its receipts are committed by then.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Then folding begins anew. It finds receipts that were committed later, or under a clock that was set back.
const FOLDED_ANEW: Duration = Duration::from_secs(24 * 3600);

/// How far receipts are folded. Under an old snapshot folded receipts stay in the index, so each read begins where the one
/// before it ended.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// For each slot the last minute of which receipts were folded.
    upto: BTreeMap<i16, DateTime<Utc>>,
    /// When folding began anew.
    began: Option<Instant>,
}

impl Folded {
    pub(super) async fn on(&mut self, conn: &mut PgConnection, slots: i16) -> Result<Ran, sqlx::Error> {
        let upto = self.at(Instant::now());
        let slots: Vec<i16> = (0..slots).collect();
        let since: Vec<Option<DateTime<Utc>>> = slots.iter().map(|slot| upto.get(slot).copied()).collect();
        let folded: Vec<(i16, i64, Option<DateTime<Utc>>)> = sqlx::query_as(
            "select k.slot, f.folded, f.newest
             from unnest($1::smallint[], $2::timestamptz[]) as k (slot, since),
                  lateral outbox.fold_receipts(k.slot, coalesce(k.since - $3, '-infinity'), clock_timestamp() - $4, $5) as f",
        )
        .bind(slots)
        .bind(since)
        .bind(interval(WRITTEN_WITHIN))
        .bind(interval(SETTLED_AFTER))
        .bind(FOLDED_MAX)
        .fetch_all(conn)
        .await?;
        upto.extend(folded.iter().filter_map(|(slot, _, newest)| Some((*slot, (*newest)?))));
        Ok(match folded.iter().map(|(_, taken, _)| *taken).max() {
            Some(taken) if taken >= FOLDED_MAX.into() => Ran::More,
            Some(1..) => Ran::Done,
            _ => Ran::Idle,
        })
    }

    fn at(&mut self, now: Instant) -> &mut BTreeMap<i16, DateTime<Utc>> {
        if self.began.is_none_or(|began| now - began >= FOLDED_ANEW) {
            self.upto.clear();
            self.began = Some(now);
        }
        &mut self.upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 7: once a day folding begins anew, so that a receipt that was committed late is folded, too.
    #[test]
    fn folding_begins_anew_once_a_day() {
        let (start, mut folded, little) = (Instant::now(), Folded::default(), Duration::from_secs(10));
        folded.at(start).insert(3, Utc::now());
        assert_eq!(folded.at(start + FOLDED_ANEW - little).len(), 1);
        assert!(folded.at(start + FOLDED_ANEW).is_empty());
        folded.at(start + FOLDED_ANEW).insert(3, Utc::now());
        assert_eq!(folded.at(start + FOLDED_ANEW + little).len(), 1);
    }
}
