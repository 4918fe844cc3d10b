//! The result of every event, from the services' output and the database.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::show::{Show, ms_between};
use super::story::{Told, dead_letters, until};
use super::world::World;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) ok: bool,
    pub(super) events: usize,
    pub(super) rolled_back: usize,
    pub(super) deliveries: usize,
    pub(super) delivered: usize,
    pub(super) dead_lettered: usize,
    pub(super) lost: usize,
    pub(super) called_twice: usize,
    pub(super) duplicates_suppressed: usize,
    pub(super) retries: u32,
    /// From COMMIT's return in the publisher to the call's arrival in the service.
    pub(super) latency_ms: Latency,
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Summary {
    pub(super) fn show(&self, show: &Show) {
        show.scene("Summary");
        let rows = [
            ("events committed", self.events.to_string()),
            ("events rolled back, and never seen", self.rolled_back.to_string()),
            ("deliveries due", self.deliveries.to_string()),
            ("  delivered, each exactly once", self.delivered.to_string()),
            ("  dead-lettered", self.dead_lettered.to_string()),
            ("  lost", self.lost.to_string()),
            ("calls repeated after success", self.called_twice.to_string()),
            ("duplicates suppressed", self.duplicates_suppressed.to_string()),
            ("failed attempts, retried", self.retries.to_string()),
            (
                "commit → RPC, p50 / p99",
                format!("{:.1} / {:.1} ms", self.latency_ms.p50, self.latency_ms.p99),
            ),
        ];
        for (name, value) in rows {
            println!("  {name:<36} {value:>14}");
        }
        if self.ok {
            show.good("every count is correct");
        }
        for problem in &self.problems {
            show.bad(problem);
        }
    }
}

pub(super) async fn summarize(world: &World, told: &Told) -> Result<Summary, Failure> {
    let calls = world.calls.all();
    let mut successes: HashMap<(_, &str), usize> = HashMap::new();
    for call in calls.iter().filter(|call| call.refused.is_none()) {
        *successes.entry((call.event, call.rpc.as_str())).or_default() += 1;
    }
    let deliveries: usize = told.published.iter().map(|published| published.subscribers).sum();
    let delivered = told
        .published
        .iter()
        .map(|published| successes.keys().filter(|key| key.0 == published.id).count())
        .sum();
    // SQS's counts include a deleted message for a moment.
    let settled = until("every queue is empty", || async { Ok(unfinished(world).await? == 0) }).await;
    let dead_lettered = dead_letters(world).await?.len();
    let mut latencies: Vec<f64> = told
        .published
        .iter()
        .filter(|published| published.timed)
        .flat_map(|published| {
            let arrived = calls.iter().filter(|call| call.event == published.id && call.refused.is_none());
            arrived.map(|call| ms_between(published.committed, call.at)).collect::<Vec<_>>()
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    let summary = Summary {
        ok: false,
        events: told.published.len(),
        rolled_back: told.rolled_back.iter().filter(|id| world.calls.of(**id).is_empty()).count(),
        deliveries,
        delivered,
        dead_lettered,
        lost: deliveries.saturating_sub(delivered + dead_lettered),
        called_twice: successes.values().filter(|&&times| times > 1).count(),
        duplicates_suppressed: told.duplicates,
        retries: calls
            .iter()
            .filter(|call| call.refused.is_none())
            .map(|call| call.attempt.saturating_sub(1))
            .sum(),
        latency_ms: Latency { p50: percentile(&latencies, 0.50), p99: percentile(&latencies, 0.99) },
        problems: Vec::new(),
    };
    let refused = calls.iter().filter(|call| call.refused.is_some()).count();
    let must = [
        (summary.lost == 0, "deliveries were lost"),
        (
            summary.delivered + summary.dead_lettered == deliveries,
            "deliveries are not delivered or dead-lettered",
        ),
        (summary.called_twice == 0, "an RPC was called again after it had succeeded"),
        (summary.rolled_back == told.rolled_back.len(), "a rolled-back event was delivered"),
        (summary.duplicates_suppressed == 1, "the duplicate was not suppressed"),
        (summary.dead_lettered == told.poison, "another event than the poison one was dead-lettered"),
        (refused == told.poison, "a service refused another event than the poison one"),
        (summary.retries > 0, "nothing was retried, and a service was down"),
        (settled.is_ok(), "deliveries still wait for another attempt"),
    ];
    let problems: Vec<String> =
        must.iter().filter(|(holds, _)| !holds).map(|(_, problem)| (*problem).to_owned()).collect();
    Ok(Summary { ok: problems.is_empty(), problems, ..summary })
}

/// The deliveries in the queues, as `outbox status` counts them.
async fn unfinished(world: &World) -> Result<i64, Failure> {
    #[derive(Deserialize)]
    struct Status {
        rpcs: Vec<Depth>,
    }
    #[derive(Deserialize)]
    struct Depth {
        waiting: i64,
        hidden: i64,
        retrying: Option<i64>,
    }
    let status: Status = serde_json::from_value(world.outbox(&["status"]).await?)?;
    Ok(status.rpcs.iter().map(|depth| depth.waiting + depth.hidden + depth.retrying.unwrap_or(0)).sum())
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
