//! The item that has the progress of a repair.

use chrono::{DateTime, Utc};
use outbox_transport::operate::{At, Kind, Progress, Speed};
use uuid::Uuid;

use super::records::{Item, number, text, time};

/// No policy allows to delete it.
pub(super) fn job_key(id: Uuid) -> String {
    format!("audit job {id}")
}

pub(super) fn progress(item: &Item, now: DateTime<Utc>) -> Option<Progress> {
    let beat = time(item, "beat_ms").and_then(At::known)?;
    Some(Progress {
        kind: Kind::parse(text(item, "kind")?)?,
        rpc: text(item, "rpc").map(str::to_owned),
        plan: text(item, "plan").and_then(|plan| serde_json::from_str(plan).ok()).unwrap_or_default(),
        bound: time(item, "bound_ms"),
        reached: number(item, "reached").unwrap_or_default(),
        total: number(item, "total_count"),
        place: text(item, "place").map(str::to_owned),
        beat_seconds_ago: ((now - beat).num_milliseconds() as f64 / 1000.0).max(0.0),
        stop_by: text(item, "stop_by").map(str::to_owned),
        speed: speed(item),
        taken_back: 0,
    })
}

pub(super) fn speed(item: &Item) -> Speed {
    Speed {
        rate: number(item, RATE).and_then(|rate| u32::try_from(rate).ok()),
        rate_by: text(item, "rate_by").map(str::to_owned),
        paused_by: text(item, "paused_by").map(str::to_owned),
    }
}

/// So many a second.
pub(super) const RATE: &str = "rate_per_second";
