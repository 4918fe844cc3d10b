//! What is shown of repairs. Pure: everything is known by now.

use outbox_transport::operate::{DYNAMODB, Kept, Kind, Speed, Standing, thousands};
use serde::Serialize;
use uuid::Uuid;

use crate::options::Options;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, moment_of, or_dash, table};
use crate::stopped::Stopped;

/// So many entries of the audit are looked at.
pub(super) const READ_MAX: u32 = 1000;
const COMMAND_CHARS_MAX: usize = 2000;
const STOP: &str = "stop";
const PACE: &str = "pace";
const PAUSE: &str = "pause";
const RESUME: &str = "resume";
const CONTINUE: &str = "continue";
const UNDO: &str = "undo";

pub(super) fn unknown(id: Uuid, options: &Options) -> Stopped {
    Stopped::failed(
        format!("there is no repair {id}"),
        format!("see {}", options.command(["repair", "list"])),
    )
}

/// The names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Listed<'a> {
    state: Standing,
    moved: Option<i64>,
    /// The subcommands of `outbox repair` that still do something with it.
    can: Vec<&'static str>,
    #[serde(flatten)]
    kept: &'a Kept,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown<'a>(Vec<Listed<'a>>);

impl<'a> Listed<'a> {
    pub(super) fn of(kept: &'a Kept) -> Self {
        Self { state: kept.standing(), moved: moved(kept), can: can(kept), kept }
    }
}

impl<'a> Shown<'a> {
    pub(super) fn of(found: &'a [Kept]) -> Self {
        Self(found.iter().map(Listed::of).collect())
    }
}

/// Redrives, drops and replays: those that run, then those that are silent, then the newest.
pub(super) fn ordered(mut kept: Vec<Kept>, limit: usize) -> Vec<Kept> {
    kept.retain(|one| one.progress.is_some());
    let rank = |one: &Kept| match one.standing() {
        Standing::Running => 0,
        Standing::Silent => 1,
        _ => 2,
    };
    kept.sort_by_key(|one| (rank(one), std::cmp::Reverse(one.at.known())));
    kept.truncate(limit);
    kept
}

/// What still does something with it. Of one that has looked at everything, nothing is left, unless it failed: then what was not moved
/// is where it was.
fn can(kept: &Kept) -> Vec<&'static str> {
    let Some(progress) = &kept.progress else { return Vec::new() };
    let is_over = progress.total.is_some_and(|total| progress.reached >= total);
    let mut can: Vec<&str> = match kept.standing() {
        Standing::Running => {
            let held = if progress.speed.paused_by.is_some() { RESUME } else { PAUSE };
            let pace = progress.speed.rate.map(|_| PACE);
            [STOP, held].into_iter().chain(pace).collect()
        }
        Standing::Silent => vec![STOP, CONTINUE, UNDO],
        Standing::Ended => vec![UNDO],
        Standing::Interrupted | Standing::Stopped if is_over => vec![UNDO],
        _ => vec![CONTINUE, UNDO],
    };
    // What was dropped is gone. On SQS a message in a queue can't be found again.
    can.retain(|what| *what != UNDO || (progress.kind != Kind::Drop && kept.source != DYNAMODB));
    can
}

/// In words: one that is paused still runs.
fn state(kept: &Kept) -> String {
    let is_held = kept.progress.as_ref().is_some_and(|progress| progress.speed.paused_by.is_some());
    match kept.standing() {
        Standing::Running if is_held => "running, paused".to_owned(),
        standing => standing.to_string(),
    }
}

/// While it runs, what it has looked at is known, and not all of that is moved.
fn moved(kept: &Kept) -> Option<i64> {
    kept.changed().or(kept.progress.as_ref().map(|progress| progress.reached))
}

fn reached(kept: &Kept) -> String {
    let Some(progress) = &kept.progress else { return or_dash(moved(kept).map(thousands)) };
    match progress.total {
        Some(total) => {
            format!("{} of {}", thousands(progress.reached), thousands(total.max(progress.reached)))
        }
        None => thousands(progress.reached),
    }
}

pub(super) fn listed(listed: &[Kept], options: &Options) -> String {
    if listed.is_empty() {
        return "No redrives, drops or replays.".to_owned();
    }
    let mut rows = table(["ID", "STATE", "KIND", "RPC", "REACHED", "WHO", "SINCE"]);
    for one in listed {
        let kind = one.progress.as_ref().map(|progress| progress.kind);
        let rpc = one.progress.as_ref().and_then(|progress| progress.rpc.as_deref()).unwrap_or("all");
        rows.add_row([
            one.id.to_string(),
            state(one),
            or_dash(kind.map(Kind::as_str)),
            line(rpc, NAME_CHARS_MAX),
            match one.progress.as_ref().map_or(0, |progress| progress.taken_back) {
                0 => reached(one),
                back => format!("{}, {} taken back", reached(one), thousands(back)),
            },
            line(&one.who, NAME_CHARS_MAX),
            moment_of(one.at),
        ]);
    }
    let mut text = rows.trim_fmt();
    if let Some(first) = listed.first() {
        let show = options.command(["repair", "show", &first.id.to_string()]);
        text.push_str(&format!("\n\nto see one: {show}"));
    }
    text
}

pub(super) fn shown(found: &[Kept], options: &Options) -> String {
    let several = found.len() > 1;
    let mut parts: Vec<String> = found.iter().map(|kept| one(kept, several)).collect();
    let Some(first) = found.iter().min_by_key(|kept| kept.standing()) else { return String::new() };
    let half = first.progress.as_ref().and_then(|progress| progress.speed.rate).map_or(0, |rate| rate / 2);
    let (id, half_text) = (first.id.to_string(), half.to_string());
    let rate = ["--rate", half_text.as_str()];
    let hint = |what: &str| {
        let does = match what {
            STOP => "to stop it",
            PACE => "to halve its rate",
            PAUSE => "to pause it",
            RESUME => "to let it go on",
            CONTINUE => "to go on",
            _ => "to take back what has not begun",
        };
        let more = if what == PACE { &rate[..] } else { &[] };
        let words = ["repair", what, &id].into_iter().chain(more.iter().copied());
        format!("{does}: {}", options.command(words))
    };
    // One a second is the lowest rate.
    let hints: Vec<String> =
        can(first).into_iter().filter(|what| *what != PACE || half > 0).map(hint).collect();
    if !hints.is_empty() {
        parts.push(hints.join("\n"));
    }
    parts.join("\n\n")
}

fn one(kept: &Kept, several: bool) -> String {
    let mut rows = table(["ID", &kept.id.to_string()]);
    if several {
        rows.add_row(["source", &kept.source]);
    }
    rows.add_row(["state", &state(kept)]);
    if let Some(progress) = &kept.progress {
        rows.add_row(["kind", progress.kind.as_str()]);
        rows.add_row(["rpc", progress.rpc.as_deref().unwrap_or("all")]);
        rows.add_row(["reached", &reached(kept)]);
    }
    rows.add_row(["moved", &or_dash(kept.changed().map(thousands))]);
    rows.add_row(["who", &kept.who]);
    rows.add_row(["since", &moment_of(kept.at)]);
    if let Some(progress) = &kept.progress {
        if !kept.ended {
            rows.add_row(["last heard", &format!("{} ago", age(progress.beat_seconds_ago))]);
        }
        for (name, value) in speed(&progress.speed, kept.ended) {
            rows.add_row([name, &value]);
        }
        if let Some(by) = &progress.stop_by {
            rows.add_row(["asked to stop", &format!("by {by}")]);
        }
        if progress.taken_back > 0 {
            rows.add_row(["taken back", &thousands(progress.taken_back)]);
        }
    }
    for (name, what) in [("stopped", "stopped"), ("failed", "failed"), ("continued_by", "continued by")] {
        if let Some(why) = kept.result.as_ref().and_then(|result| result.get(name)?.as_str()) {
            rows.add_row([what, why]);
        }
    }
    rows.add_row(["command", &line(&kept.command, COMMAND_CHARS_MAX)]);
    rows.trim_fmt()
}

fn speed(speed: &Speed, has_ended: bool) -> Vec<(&'static str, String)> {
    let rate = speed.rate.map(|rate| {
        let by = speed.rate_by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        ("rate", format!("{} a second{by}", thousands(rate.into())))
    });
    let paused_by = speed.paused_by.as_ref().filter(|_| !has_ended);
    let paused = paused_by.map(|by| ("paused", format!("by {by}")));
    rate.into_iter().chain(paused).collect()
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use outbox_transport::operate::Progress;
    use serde_json::json;

    use super::*;

    /// Guards promise 8: of a repair only that is offered which still does something.
    #[test]
    fn a_repair_offers_what_can_be_done() {
        let (ended, stopped) = (Some(json!({"moved": 3})), Some(json!({"moved": 3, "stopped": "by a@b"})));
        let (interrupted, failed) = (Some(json!({"interrupted": true})), Some(json!({"failed": "no"})));
        let of = |kind, source: &str, reached, result: &Option<serde_json::Value>, beat_seconds_ago| Kept {
            source: source.to_owned(),
            id: Uuid::nil(),
            at: Utc::now().into(),
            who: "a@b".to_owned(),
            role: None,
            command: String::new(),
            ended: result.is_some(),
            result: result.clone(),
            progress: Some(Progress {
                kind,
                rpc: None,
                plan: Vec::new(),
                bound: None,
                reached,
                total: Some(10),
                place: None,
                beat_seconds_ago,
                stop_by: None,
                speed: Speed::default(),
                taken_back: 0,
            }),
        };
        let (redrive, drop, replay) = (Kind::Redrive, Kind::Drop, Kind::Replay);
        let at = |rate, paused_by: Option<&str>| {
            let mut running = of(redrive, "cards", 3, &None, 1.0);
            if let Some(progress) = &mut running.progress {
                progress.speed = Speed { rate, rate_by: None, paused_by: paused_by.map(str::to_owned) };
            }
            running
        };
        for (kept, expected) in [
            (at(Some(50), None), &[STOP, PAUSE, PACE][..]),
            (at(Some(50), Some("c@d")), &[STOP, RESUME, PACE]),
            (at(None, Some("c@d")), &[STOP, RESUME]),
            (of(drop, "cards", 3, &None, 1.0), &[STOP, PAUSE]),
            (of(replay, "cards", 3, &None, 90.0), &[STOP, CONTINUE, UNDO]),
            (of(redrive, "cards", 10, &ended, 90.0), &[UNDO]),
            (of(replay, "cards", 3, &stopped, 90.0), &[CONTINUE, UNDO]),
            (of(replay, "cards", 10, &stopped, 90.0), &[UNDO]),
            (of(redrive, "cards", 10, &failed, 90.0), &[CONTINUE, UNDO]),
            (of(drop, "cards", 3, &interrupted, 90.0), &[CONTINUE]),
            (of(drop, "cards", 10, &interrupted, 90.0), &[]),
            (of(drop, "cards", 10, &ended, 90.0), &[]),
            (of(redrive, DYNAMODB, 10, &ended, 90.0), &[]),
            (of(redrive, DYNAMODB, 3, &stopped, 90.0), &[CONTINUE]),
            (Kept { progress: None, ..of(redrive, "cards", 0, &ended, 0.0) }, &[]),
        ] {
            assert_eq!(can(&kept), expected, "{kept:?}");
        }
    }

    /// Guards promise 8: it is shown at which rate a repair goes, who has changed that, and who holds it.
    #[test]
    fn who_paces_a_repair_is_shown() {
        let owned = |by: Option<&str>| by.map(str::to_owned);
        for (rate, rate_by, paused_by, shown) in [
            (None, None, None, ""),
            (Some(50), None, None, "rate 50 a second"),
            (Some(2000), Some("c@d"), None, "rate 2,000 a second, by c@d"),
            (Some(50), None, Some("c@d"), "rate 50 a second; paused by c@d"),
            (None, None, Some("c@d"), "paused by c@d"),
        ] {
            let speed = Speed { rate, rate_by: owned(rate_by), paused_by: owned(paused_by) };
            let rows: Vec<String> = super::speed(&speed, false)
                .into_iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            assert_eq!(rows.join("; "), shown);
            assert_eq!(super::speed(&speed, true).len(), usize::from(rate.is_some()), "a pause ends with it");
        }
    }
}
