use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::five_minutes::FiveMinutes;

/// Longer texts are cut: a row is written every few seconds.
const TEXT_CHARS_MAX: usize = 300;
/// A call that takes longer is slow, though no other may have ended.
pub const STANDING_SECONDS: f64 = 5.0;

/// What changes while a process runs. A reader may be older or newer than the writer, so each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Whether the parts of this source are ready, as `/readyz` says it.
    pub ready: bool,
    /// The parts that make no progress, for a shorter time than `/readyz` needs.
    pub waits: Vec<Waits>,
    pub rpcs: Vec<RpcReport>,
    /// Another version wrote a report that this one can't read. So nothing else is known.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub not_readable: bool,
}

/// A part of a process that makes no progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waits {
    pub part: String,
    pub reason: String,
    /// `None` if waiting does not help.
    pub seconds: Option<f64>,
}

/// One RPC in a worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcReport {
    pub rpc: String,
    pub breaker: Breaker,
    /// When the worker first saw the breaker in this state.
    pub breaker_since: Option<DateTime<Utc>>,
    /// Why it is held.
    pub held: Option<String>,
    /// Whether this worker calls nothing, because an operator paused the RPC.
    pub paused: bool,
    /// Whether an operator set other limits than those of event_router.yaml.
    pub limited: bool,
    pub last_error: Option<LastError>,
    /// How many calls have failed since the last one that succeeded, and when that one ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed_in_row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded_at: Option<DateTime<Utc>>,
    /// An event that fails again and again, while others may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails_often: Option<FailsOften>,
    /// Calls under way, and how many there may be.
    pub calls: usize,
    pub calls_max: usize,
    pub minute: Minute,
    /// `None` from a worker of a version that does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub five_minutes: Option<FiveMinutes>,
    pub duty: Duty,
    /// When the oldest message of the queue came, if this worker measures the queue. SQS does not say it to operators.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Dead letters that their queue refuses, by the code of the refusal.
    pub set_aside: BTreeMap<String, usize>,
    /// The service, if this worker has no address for it: it receives nothing for the RPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unaddressed: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    #[default]
    Closed,
    /// Different events fail in a row.
    Doubted,
    /// Its server does not answer.
    Away,
    /// Different events are refused alike.
    Held,
}

/// Of a call: a code of Connect's, and the server's text. Never a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    pub code: String,
    pub text: String,
    pub at: DateTime<Utc>,
}

/// A delivery that failed many times and has not ended, and its last failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailsOften {
    pub event: String,
    pub attempt: u32,
    pub error: LastError,
}

/// The calls of the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Minute {
    pub ended: u64,
    /// Of those that ended.
    pub mean_seconds: f64,
    /// Of all, also of those under way.
    pub longest_seconds: f64,
}

/// The part of a worker in receiving from the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    Rest,
    Help,
    #[default]
    Watch,
}

impl RpcReport {
    /// Whether all calls that are allowed are under way, and one of them takes long.
    pub fn stands(&self) -> bool {
        self.calls_max > 0 && self.calls >= self.calls_max && self.minute.longest_seconds >= STANDING_SECONDS
    }
}

impl Report {
    /// Whether it should be known soon: readiness, a breaker, a pause or a limit changed, or all calls of an RPC stand. Reasons
    /// and numbers change all the time.
    pub fn is_news_after(&self, before: &Self) -> bool {
        let parts =
            |report: &Self| -> Vec<String> { report.waits.iter().map(|waits| waits.part.clone()).collect() };
        let breakers = |report: &Self| -> Vec<(String, Breaker, [bool; 3])> {
            let states = |rpc: &RpcReport| [rpc.paused, rpc.limited, rpc.stands()];
            report.rpcs.iter().map(|rpc| (rpc.rpc.clone(), rpc.breaker, states(rpc))).collect()
        };
        self.ready != before.ready || parts(self) != parts(before) || breakers(self) != breakers(before)
    }

    /// Reads a stored report. A text that is none is an answer, too, and must not hide the other processes.
    pub fn read(text: &str) -> Self {
        // A list would be read as the values of the fields.
        let fields = serde_json::from_str::<serde_json::Map<_, _>>(text);
        fields
            .and_then(|fields| serde_json::from_value(fields.into()))
            .unwrap_or_else(|_| Self { not_readable: true, ..Self::default() })
    }
}

/// The beginning of a text, on one line.
pub fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a report is read as it was written. One of another version is read as far as it goes, and any other
    /// text is no failure.
    #[test]
    fn reports_are_written_and_read() {
        let error = LastError { code: "unavailable".into(), text: "down".into(), at: Utc::now() };
        let rpc = RpcReport {
            rpc: "Test/One".into(),
            breaker: Breaker::Away,
            breaker_since: Some(Utc::now()),
            last_error: Some(error),
            calls: 3,
            calls_max: 16,
            minute: Minute { ended: 7, mean_seconds: 0.25, longest_seconds: 1.5 },
            five_minutes: Some(FiveMinutes {
                codes: [("ok".to_owned(), 9), ("unavailable".to_owned(), 2)].into(),
                took: vec![(Some(0.0025), 9), (None, 2)],
                leave_per_second: Some(0.03),
                grows_per_second: Some(-1.5),
            }),
            ..RpcReport::default()
        };
        let waits = Waits { part: "cards".into(), reason: "no space".into(), seconds: Some(4.0) };
        let report = Report { waits: vec![waits], rpcs: vec![rpc], ..Report::default() };
        assert_eq!(Report::read(&serde_json::to_string(&report).unwrap()), report);
        let other = Report::read(r#"{"ready":true,"later":1,"not_readable":true,"rpcs":[{"rpc":"A/B"}]}"#);
        assert!(other.ready && !other.not_readable);
        assert!(other.rpcs[0].rpc == "A/B" && other.rpcs[0].breaker == Breaker::Closed);
        assert_eq!(other.rpcs[0].five_minutes, None);
        for text in ["", "[]", "{\"ready\":7}", "null"] {
            assert_eq!(Report::read(text), Report { not_readable: true, ..Report::default() }, "{text}");
        }
    }

    /// Guards promise 8: a change of readiness, of a part that waits, or of a breaker is news. Numbers and reasons are not.
    #[test]
    fn only_changes_that_matter_are_news() {
        let of = |ready, part: &str, reason: &str, breaker, calls| Report {
            ready,
            waits: vec![Waits { part: part.into(), reason: reason.into(), seconds: Some(1.0) }],
            rpcs: vec![RpcReport { rpc: "A/B".into(), breaker, calls, ..RpcReport::default() }],
            not_readable: false,
        };
        let before = of(true, "cards", "busy", Breaker::Closed, 1);
        assert!(!of(true, "cards", "putting 7 events", Breaker::Closed, 2).is_news_after(&before));
        assert!(of(false, "cards", "busy", Breaker::Closed, 1).is_news_after(&before));
        assert!(of(true, "ledger", "busy", Breaker::Closed, 1).is_news_after(&before));
        assert!(of(true, "cards", "busy", Breaker::Away, 1).is_news_after(&before));
        assert!(Report::default().is_news_after(&before));
    }

    /// Guards SECURITY.md: a text in a row is one line of bounded length.
    #[test]
    fn texts_are_short() {
        assert_eq!(shortened("a\nb\u{0}"), "a b ");
        assert_eq!(shortened(&"x".repeat(5000)).len(), TEXT_CHARS_MAX);
    }
}
