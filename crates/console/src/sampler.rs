//! One look at the installation for all viewers. With fifty of them the database is asked as often as with one, and with none it
//! is not asked at all.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answers::{Route, Status};
use crate::ask::{Ask, Refusal, words};
use crate::asked::asked;

/// A look that is younger is shown again.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// An answer that takes longer is late: the older one is shown, and says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WHO: &str = "console";

#[derive(Debug, Default)]
pub(crate) struct Sampler(Mutex<Option<(Instant, Sample)>>);

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
        let mut last = self.0.lock().await;
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
            (Ok(fresh), _) => fresh,
            (Err(late), Some((_, before))) => Sample { late: Some(late), ..before },
            (Err(late), None) => return Err(late),
        };
        *last = Some((Instant::now(), sample.clone()));
        Ok(sample)
    }
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
