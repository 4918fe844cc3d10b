//! A repair of many things: every operator sees its progress, and may stop it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event_router::Rpc;
use serde::Serialize;
use uuid::Uuid;

use super::at::At;
use super::error::OperateError;
use super::pace::{Change, Speed};
use super::words::shown;
use super::{Kept, Repair};

/// A running command writes that it runs about every [`BEAT_EVERY`]. After this time without it, it is silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);
pub const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Repairs of many things: begun one at a time, seen, stopped and taken back.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Repairs {
    /// Begins a repair, unless one of the same kind runs for the same RPC. Of several at the same moment, one begins at most. On AWS
    /// the audit may not be writable. Then a repair that can be undone begins without it, and others do not see it.
    async fn start(&self, repair: &Repair, job: &Job, undoable: bool) -> Result<Started, OperateError>;

    /// Says that it runs and how far it is, and asks whether it shall stop, and how fast it shall go.
    async fn beat(&self, repair: &Repair, reached: &Reached) -> Result<Heard, OperateError>;

    /// Asks a repair to stop. Another operator may have begun it. A silent one is ended at once.
    async fn stop(&self, id: Uuid, who: &str) -> Result<Asked, OperateError>;

    /// Takes back some of what the repair `of` put into queues and no worker has begun; zero at the end. None on SQS, where a
    /// message can't be found again.
    async fn take_back(&self, repair: &Repair, of: Uuid) -> Result<Option<i64>, OperateError>;
}

/// Repairs whose rate others may change. The command of a repair follows at its next beat.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Paced {
    /// Asks a running repair for another rate, or to pause. Another operator may have begun it. A silent one has no command that would
    /// follow.
    async fn pace(&self, id: Uuid, who: &str, change: Change) -> Result<Asked, OperateError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Redrive,
    Drop,
    Replay,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Drop => "drop",
            Self::Replay => "replay",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Redrive, Self::Drop, Self::Replay].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub kind: Kind,
    /// None: of every RPC.
    pub rpc: Option<Rpc>,
    /// The words of the command, for `outbox repair continue`.
    pub plan: Vec<String>,
    /// So many a second. None of a drop.
    pub rate: Option<u32>,
    /// A repair that ends with this, because this goes on with it, from its place. It is continued once.
    pub continues: Option<Uuid>,
    /// Of a repair that is continued.
    pub bound: Option<DateTime<Utc>>,
    /// Without a bound, it is so long before the beginning.
    pub older_than: Option<Duration>,
    /// Beside others of its kind.
    pub also: bool,
}

#[derive(Debug)]
pub enum Started {
    /// Letters that die after the bound are not moved.
    Begun { bound: DateTime<Utc> },
    /// Nothing was begun, because this one runs.
    InTheWay(Box<Kept>),
}

#[derive(Debug, Clone, Default)]
pub struct Reached {
    pub reached: i64,
    /// Unknown if it was not counted.
    pub total: Option<i64>,
    /// How far a replay came in this source.
    pub place: Option<String>,
    /// Whether it asks what became of what it moved.
    pub fates: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    pub stop_by: Option<String>,
    pub speed: Speed,
    /// Of what it moved, if it was asked.
    pub fates: Option<Fates>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fates {
    /// Neither done nor dead.
    pub waiting: i64,
    /// Dead again.
    pub dead: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Its command will hear it.
    Asked,
    /// It was silent.
    Ended,
    /// Its command would not follow.
    Silent,
    /// It had ended before.
    Over,
    Unknown,
}

/// What is kept of a repair of many things.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    pub kind: Kind,
    pub rpc: Option<String>,
    #[serde(serialize_with = "shown")]
    pub plan: Vec<String>,
    pub bound: Option<At>,
    pub reached: i64,
    pub total: Option<i64>,
    #[serde(skip)]
    pub place: Option<String>,
    pub beat_seconds_ago: f64,
    pub stop_by: Option<String>,
    #[serde(flatten)]
    pub speed: Speed,
    /// By `outbox repair undo`.
    pub taken_back: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Running,
    /// It has not ended, and does not say that it runs.
    Silent,
    /// It has not ended, and never says whether it runs.
    NotEnded,
    Ended,
    Interrupted,
    Stopped,
    Failed,
}

impl Standing {
    /// Pure: by its end, its result, and the time since it last said that it runs.
    pub fn of(ended: bool, result: Option<&serde_json::Value>, beat_seconds_ago: Option<f64>) -> Self {
        if !ended {
            return match beat_seconds_ago {
                None => Self::NotEnded,
                Some(ago) if ago <= SILENT_AFTER.as_secs_f64() => Self::Running,
                Some(_) => Self::Silent,
            };
        }
        let Some(result) = result else { return Self::Ended };
        let has = |name: &str| result.get(name).is_some_and(|value| !value.is_null() && value != false);
        match result {
            result if result.is_string() => Self::Failed,
            _ if has("continued_by") => Self::Ended,
            _ if has("failed") => Self::Failed,
            _ if has("stopped") => Self::Stopped,
            _ if has("interrupted") => Self::Interrupted,
            _ => Self::Ended,
        }
    }
}

impl Kept {
    /// The repair that went on with it: nothing is left for another one.
    pub fn continued_by(&self) -> Option<Uuid> {
        self.result.as_ref()?.get("continued_by")?.as_str()?.parse().ok()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Silent => "silent",
            Self::NotEnded => "not ended",
            Self::Ended => "ended",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards promise 8: what became of a repair is read from its row. One that was killed is silent, and is not running.
    #[test]
    fn the_state_of_a_repair_is_told() {
        for (ended, result, ago, state) in [
            (false, None, Some(0.0), Standing::Running),
            (false, None, Some(30.0), Standing::Running),
            (false, None, Some(30.1), Standing::Silent),
            (false, Some(json!({"changed": 3})), Some(1.0), Standing::Running),
            (false, Some(json!({"changed": 3})), None, Standing::NotEnded),
            (true, None, None, Standing::Ended),
            (true, Some(json!({"moved": 3})), Some(99.0), Standing::Ended),
            (
                true,
                Some(json!({"moved": 3, "interrupted": false, "failed": null, "stopped": null})),
                None,
                Standing::Ended,
            ),
            (true, Some(json!({"moved": 3, "interrupted": true})), Some(1.0), Standing::Interrupted),
            (true, Some(json!({"moved": 3, "stopped": "by a@b"})), None, Standing::Stopped),
            (true, Some(json!({"moved": 3, "stopped": "by a@b", "failed": "no"})), None, Standing::Failed),
            (true, Some(json!("there is no queue")), None, Standing::Failed),
            (
                true,
                Some(json!({"moved": 3, "interrupted": true, "stopped": "by a@b", "continued_by": "0198"})),
                None,
                Standing::Ended,
            ),
        ] {
            assert_eq!(Standing::of(ended, result.as_ref(), ago), state, "{ended} {result:?} {ago:?}");
        }
    }
}
