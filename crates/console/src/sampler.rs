//! One look at the installation for all viewers. With fifty of them the database is asked as often as with one, and with none it
//! is not asked at all.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answers::{Group, Kept, Route, Status, Summary};
use crate::ask::{Ask, Refusal, words};
use crate::asked::asked;
use crate::history::{History, Trend};

/// A look that is younger is shown again.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// An answer that takes longer is late: the older one is shown, and says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WHO: &str = "console";

#[derive(Debug, Default)]
pub(crate) struct Sampler {
    last: Mutex<Option<(Instant, Sample)>>,
    repairs: Mutex<Option<(Instant, Arc<Vec<Kept>>)>>,
    history: std::sync::Mutex<History>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) at: DateTime<Utc>,
    pub(crate) status: Arc<Status>,
    pub(crate) json: Arc<Value>,
    pub(crate) routes: Arc<Vec<Route>>,
    /// Why it is older than it should be.
    pub(crate) late: Option<Refusal>,
}

impl Sampler {
    /// Those who come while a look is under way wait for the same one.
    pub(crate) async fn look(&self, ask: &dyn Ask, clock: fn() -> DateTime<Utc>) -> Result<Sample, Refusal> {
        let mut last = self.last.lock().await;
        if let Some((looked, sample)) = &*last
            && looked.elapsed() < EVERY
        {
            return Ok(sample.clone());
        }
        let fresh = tokio::time::timeout(ANSWER_WITHIN, fresh(ask, clock)).await.unwrap_or_else(|_| {
            Err(Refusal {
                code: 3,
                problem: format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
                remedy: "the database answers slowly: see `outbox doctor`".to_owned(),
            })
        });
        let sample = match (fresh, last.take()) {
            (Ok(fresh), _) => {
                self.keep(&fresh);
                fresh
            }
            (Err(late), Some((_, before))) => Sample { late: Some(late), ..before },
            (Err(late), None) => return Err(late),
        };
        *last = Some((Instant::now(), sample.clone()));
        Ok(sample)
    }

    /// For those who watch repairs.
    pub(crate) async fn repairs(&self, ask: &dyn Ask) -> Result<Arc<Vec<Kept>>, Refusal> {
        let mut last = self.repairs.lock().await;
        if let Some((looked, repairs)) = &*last
            && looked.elapsed() < EVERY
        {
            return Ok(Arc::clone(repairs));
        }
        let (repairs, _) = asked(ask, WHO, words::repairs()).await?;
        let repairs = Arc::new(repairs);
        *last = Some((Instant::now(), Arc::clone(&repairs)));
        Ok(repairs)
    }

    fn keep(&self, sample: &Sample) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        for rpc in &sample.status.rpcs {
            for (what, value) in [("waiting", rpc.waiting), ("dead", rpc.dead)] {
                history.keep(&series(what, &[&rpc.source, &rpc.rpc]), sample.at, value);
            }
        }
    }

    /// Groups are asked for by pages only.
    pub(crate) fn keep_groups(&self, summary: &Summary, at: DateTime<Utc>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        for group in &summary.groups {
            history.keep(&series("group", &of_group(group)), at, Some(group.count));
        }
    }

    pub(crate) fn group(&self, group: &Group, now: DateTime<Utc>) -> Trend {
        self.trend("group", &of_group(group), now)
    }

    pub(crate) fn trend(&self, what: &str, of: &[&str], now: DateTime<Utc>) -> Trend {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).of(&series(what, of), now)
    }
}

fn of_group(group: &Group) -> [&str; 3] {
    [&group.rpc, &group.code, &group.reason]
}

fn series(what: &str, of: &[&str]) -> String {
    format!("{what}\n{}", of.join("\n"))
}

async fn fresh(ask: &dyn Ask, clock: fn() -> DateTime<Utc>) -> Result<Sample, Refusal> {
    let (status, json) = asked(ask, WHO, words::status()).await?;
    // Without the file of routes the map has no edges.
    let routes: Vec<Route> =
        asked(ask, WHO, words::routes()).await.map(|(routes, _)| routes).unwrap_or_default();
    Ok(Sample {
        at: clock(),
        status: Arc::new(status),
        json: Arc::new(json),
        routes: Arc::new(routes),
        late: None,
    })
}
