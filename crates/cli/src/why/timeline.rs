//! Failed attempts and repairs of an event at one RPC, as a timeline. Pure.

use outbox_transport::operate::{At, Past, Try, What};

use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, counted, instant};

const REASON_CHARS_MAX: usize = 500;

/// The entries of an RPC, or of the event itself. Attempts without an entry are counted by the numbers of the others. On SQS a
/// number counts receives, also those that were held and those without a call.
pub(super) fn lines(past: &[Past], rpc: Option<&str>, on_sqs: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let missing = if on_sqs { "more receive" } else { "more attempt" };
    // Not known after entries that were left out.
    let mut made: Option<i32> = Some(0);
    for Past { at, what, .. } in past.iter().filter(|one| one.rpc.as_deref() == rpc) {
        if let Some(attempt) = attempt_of(what) {
            let between = made.map_or(0, |made| attempt.saturating_sub(made).saturating_sub(1));
            if between > 0 {
                lines.push(format!("and {} without an entry", counted(between, missing)));
            }
            // The number of an attempt that did not count comes again.
            let counts = on_sqs || !matches!(what, What::Held(_) | What::Lost(_));
            made = Some(if counts { attempt } else { attempt.saturating_sub(1) });
        }
        lines.push(format!("{} {}", time(*at), words(what, on_sqs)));
        match what {
            // Attempts are counted anew.
            What::Redriven { .. } | What::Replayed { .. } => made = Some(0),
            What::LeftOut { .. } => made = None,
            _ => {}
        }
    }
    let label = |n: usize| if n == 0 { "history   " } else { "          " };
    lines.iter().enumerate().map(|(n, text)| format!("{}{text}", label(n))).collect()
}

/// The RPCs of entries, each once.
pub(super) fn rpcs(past: &[Past]) -> Vec<&str> {
    let mut rpcs: Vec<&str> = past.iter().filter_map(|one| one.rpc.as_deref()).collect();
    rpcs.sort_unstable();
    rpcs.dedup();
    rpcs
}

fn attempt_of(what: &What) -> Option<i32> {
    match what {
        What::Failed(call) | What::Held(call) | What::Lost(call) | What::Dead(call) => call.attempt,
        What::Done { attempt, .. } => *attempt,
        _ => None,
    }
}

fn words(what: &What, on_sqs: bool) -> String {
    let uncounted = if on_sqs { "" } else { " and did not count" };
    match what {
        What::Failed(call) => format!("attempt {} failed with {}", number(call.attempt), cause(call)),
        What::Held(call) => {
            format!("attempt {} was held{uncounted}: {}", number(call.attempt), cause(call))
        }
        What::Lost(call) => {
            format!("attempt {} lost its lease{uncounted}: {}", number(call.attempt), cause(call))
        }
        What::Dead(call) => format!("dead at attempt {} with {}", number(call.attempt), cause(call)),
        What::Done { attempt, worker } => {
            format!("done at attempt {}{}", number(*attempt), by_worker(worker.as_deref()))
        }
        What::Redriven { by } => format!("redriven by {}", person(by.as_deref())),
        What::Replayed { by } => format!("replayed by {}", person(by.as_deref())),
        What::TakenBack { by } => format!("taken back by {}, before it began", person(by.as_deref())),
        What::Dropped { by } => format!("dropped by {}", person(by.as_deref())),
        What::PublishedAgain { by, code, reason } => format!(
            "published again by {}, after the bus refused it: {}: {}",
            person(by.as_deref()),
            line(code, NAME_CHARS_MAX),
            line(reason, REASON_CHARS_MAX)
        ),
        What::Removed => "removed: it was a dead letter for 14 days".to_owned(),
        What::LeftOut { entries } => format!("entries before this one that were left out: {entries}"),
    }
}

fn cause(call: &Try) -> String {
    let (code, error) = (line(&call.code, NAME_CHARS_MAX), line(&call.error, REASON_CHARS_MAX));
    format!("{code}: {error}{}", by_worker(call.worker.as_deref()))
}

fn by_worker(worker: Option<&str>) -> String {
    worker.map(|worker| format!(" (worker {})", line(worker, NAME_CHARS_MAX))).unwrap_or_default()
}

fn person(by: Option<&str>) -> String {
    by.map_or_else(|| "an unknown operator".to_owned(), |by| line(by, NAME_CHARS_MAX))
}

fn number(attempt: Option<i32>) -> String {
    attempt.map_or_else(|| NOT_KNOWN.to_owned(), |attempt| attempt.to_string())
}

fn time(at: At) -> String {
    at.known().map_or_else(|| NOT_KNOWN.to_owned(), instant)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;

    const RPC: &str = "Test/One";

    fn call(attempt: i32) -> Try {
        Try {
            attempt: Some(attempt),
            code: "unavailable".to_owned(),
            error: "down".to_owned(),
            worker: Some("vm:7".to_owned()),
        }
    }

    fn done(attempt: i32) -> What {
        What::Done { attempt: Some(attempt), worker: None }
    }

    fn me() -> Option<String> {
        Some("me@host".to_owned())
    }

    /// Entries a second apart, as text without times.
    fn told(whats: Vec<What>) -> Vec<String> {
        told_on(false, whats)
    }

    fn told_on(sqs: bool, whats: Vec<What>) -> Vec<String> {
        let start: DateTime<Utc> = "2026-11-19T06:00:00Z".parse().unwrap();
        let at = |n: usize| At::from(start + TimeDelta::seconds(i64::try_from(n).unwrap()));
        let past = |(n, what)| Past { rpc: Some(RPC.to_owned()), at: at(n), what };
        let past: Vec<Past> = whats.into_iter().enumerate().map(past).collect();
        assert_eq!(lines(&past, Some("Test/Other"), sqs), [] as [String; 0]);
        assert_eq!(lines(&past, None, sqs), [] as [String; 0]);
        let time = |n: usize| format!("2026-11-19T06:00:{n:02}Z ");
        let without = |text: String| (0..past.len()).fold(text, |text, n| text.replace(&time(n), ""));
        lines(&past, Some(RPC), sqs).into_iter().map(without).collect()
    }

    /// Guards promise 8: every kind of entry has its words, in the order of time.
    #[test]
    fn a_story_is_told_in_the_order_of_time() {
        let story = vec![
            What::Failed(call(1)),
            What::Failed(call(2)),
            What::Dead(call(3)),
            What::Redriven { by: me() },
            What::Held(call(1)),
            What::Lost(call(1)),
            done(1),
        ];
        assert_eq!(
            told(story),
            [
                "history   attempt 1 failed with unavailable: down (worker vm:7)",
                "          attempt 2 failed with unavailable: down (worker vm:7)",
                "          dead at attempt 3 with unavailable: down (worker vm:7)",
                "          redriven by me@host",
                "          attempt 1 was held and did not count: unavailable: down (worker vm:7)",
                "          attempt 1 lost its lease and did not count: unavailable: down (worker vm:7)",
                "          done at attempt 1",
            ]
        );
        for (what, words) in [
            (What::Replayed { by: me() }, "history   replayed by me@host"),
            (What::Dropped { by: None }, "history   dropped by an unknown operator"),
            (What::LeftOut { entries: 37 }, "history   entries before this one that were left out: 37"),
            (What::Removed, "history   removed: it was a dead letter for 14 days"),
            (
                What::PublishedAgain { by: me(), code: "TooLarge".to_owned(), reason: "256 KB".to_owned() },
                "history   published again by me@host, after the bus refused it: TooLarge: 256 KB",
            ),
        ] {
            assert_eq!(told(vec![what]), [words]);
        }
    }

    /// Guards promise 8: what has no entry is counted, and never passed over in silence.
    #[test]
    fn attempts_without_an_entry_are_counted() {
        let one = "and 1 more attempt without an entry";
        for (whats, expected) in [
            (vec![What::Failed(call(1)), done(2)], vec![]),
            (vec![done(2)], vec![one]),
            (vec![What::Failed(call(1)), done(3)], vec![one]),
            (
                vec![What::Failed(call(10)), What::Failed(call(20)), What::Dead(call(21))],
                vec!["and 9 more attempts without an entry", "and 9 more attempts without an entry"],
            ),
            // A redriven delivery is counted anew, and a hold has the number of the next attempt.
            (vec![What::Failed(call(1)), What::Redriven { by: None }, What::Failed(call(1))], vec![]),
            (vec![What::Held(call(1)), What::Held(call(1)), What::Failed(call(1)), done(2)], vec![]),
            // Two copies at the same time.
            (vec![What::Failed(call(1)), What::Failed(call(2)), What::Failed(call(1))], vec![]),
            (vec![What::Failed(call(1)), What::LeftOut { entries: 37 }, What::Dead(call(40))], vec![]),
        ] {
            let gaps: Vec<String> = told(whats.clone())
                .into_iter()
                .map(|text| text[10..].to_owned())
                .filter(|text| text.starts_with("and "))
                .collect();
            assert_eq!(gaps, expected, "{whats:?}");
        }
    }
    /// Guards promise 8: on SQS no attempt is invented. A hold has a number of its own there, and so has a receive without a
    /// call.
    #[test]
    fn on_sqs_receives_are_counted() {
        let held = told_on(true, vec![What::Held(call(1))]);
        assert_eq!(held, ["history   attempt 1 was held: unavailable: down (worker vm:7)"]);
        for (whats, expected) in [
            (
                vec![What::Held(call(1)), What::Held(call(2)), What::Failed(call(3)), What::Dead(call(4))],
                None,
            ),
            (vec![What::Failed(call(1)), What::Dead(call(3))], Some("and 1 more receive without an entry")),
            (vec![What::Held(call(1)), What::Dead(call(5))], Some("and 3 more receives without an entry")),
            (vec![What::Failed(call(1)), What::Redriven { by: None }, What::Failed(call(1))], None),
        ] {
            let told = told_on(true, whats.clone());
            let gap = told.iter().map(|text| &text[10..]).find(|text| text.starts_with("and "));
            assert_eq!(gap, expected, "{whats:?}");
        }
    }
}
