//! Whether a running repair goes on, and how fast.

use outbox_transport::operate::{Speed, thousands};

use super::rule::Halt;
use crate::safe::line;
use crate::show::NAME_CHARS_MAX;

/// What a running repair does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Halt(Halt),
    /// Moves nothing, and looks again later.
    Hold,
    /// Moves the next ones, at so many a second. None: as before.
    Go(Option<u32>),
}

/// Pure: a reason to end comes before a pause, and a pause before a rate.
pub(super) fn step(halt: Option<Halt>, speed: &Speed) -> Step {
    match halt {
        Some(halt) => Step::Halt(halt),
        None if speed.paused_by.is_some() => Step::Hold,
        None => Step::Go(speed.rate),
    }
}

/// Pure: of a repair in several databases. It has one rate, and a database that could not be asked may have kept a faster one.
pub(super) fn slowest(speeds: &[Speed]) -> Speed {
    let slowest = speeds.iter().filter(|speed| speed.rate.is_some()).min_by_key(|speed| speed.rate);
    let paused_by = speeds.iter().find_map(|speed| speed.paused_by.clone());
    Speed { paused_by, ..slowest.cloned().unwrap_or_default() }
}

/// Pure: what has changed, for the terminal of its command.
pub(super) fn changed(before: &Speed, now: &Speed, resume: &str) -> Vec<String> {
    let name = |by: &str| line(by, NAME_CHARS_MAX);
    let mut said = Vec::new();
    if before.rate != now.rate
        && let Some(rate) = now.rate
    {
        let by = now.rate_by.as_deref().map(|by| format!(", as {} asked", name(by))).unwrap_or_default();
        said.push(format!("it goes at {} a second{by}", thousands(rate.into())));
    }
    match (&before.paused_by, &now.paused_by) {
        (None, Some(by)) => said.push(format!("paused by {}; to let it go on: {resume}", name(by))),
        (Some(_), None) => said.push("it is resumed".to_owned()),
        _ => {}
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(rate: Option<u32>, rate_by: Option<&str>, paused_by: Option<&str>) -> Speed {
        let owned = |by: Option<&str>| by.map(str::to_owned);
        Speed { rate, rate_by: owned(rate_by), paused_by: owned(paused_by) }
    }

    /// Guards promise 8: a running repair follows who stops it, who pauses it, and who gives it another rate, in this order. One without
    /// a rate, such as a drop, is paused as any other.
    #[test]
    fn a_repair_follows_what_is_asked() {
        let stopped = Halt::Stopped("by you@host".to_owned());
        let (own, slower) = (speed(Some(50), None, None), speed(Some(25), Some("you@host"), None));
        let (paused, drop) = (speed(Some(25), None, Some("you@host")), speed(None, None, None));
        for (halt, asked, expected) in [
            (None, &own, Step::Go(Some(50))),
            (None, &slower, Step::Go(Some(25))),
            (None, &drop, Step::Go(None)),
            (None, &paused, Step::Hold),
            (None, &speed(None, None, Some("you@host")), Step::Hold),
            (Some(&stopped), &own, Step::Halt(stopped.clone())),
            (Some(&stopped), &paused, Step::Halt(stopped.clone())),
            (Some(&Halt::Interrupted), &paused, Step::Halt(Halt::Interrupted)),
        ] {
            assert_eq!(step(halt.cloned(), asked), expected, "{halt:?} {asked:?}");
        }
    }

    /// Guards promise 8: a repair in several databases is paused if it is in one, and has the lowest rate.
    #[test]
    fn the_slowest_database_counts() {
        let (fast, slow) = (speed(Some(50), None, None), speed(Some(25), Some("you@host"), None));
        let held = speed(Some(50), None, Some("you@host"));
        for (speeds, expected) in [
            (vec![], speed(None, None, None)),
            (vec![fast.clone()], fast.clone()),
            (vec![fast.clone(), slow.clone()], slow.clone()),
            (vec![speed(None, None, None), fast.clone()], fast.clone()),
            (vec![slow, held, fast], speed(Some(25), Some("you@host"), Some("you@host"))),
        ] {
            assert_eq!(slowest(&speeds), expected, "{speeds:?}");
        }
    }

    /// Guards promise 8: who waits for a repair reads who has paused it, and how it goes on.
    #[test]
    fn a_change_is_said_once() {
        let own = speed(Some(50), None, None);
        for (before, now, said) in [
            (&own, &own, &[][..]),
            (
                &own,
                &speed(Some(25), Some("you@host"), None),
                &["it goes at 25 a second, as you@host asked"][..],
            ),
            (
                &own,
                &speed(Some(50), None, Some("you@host")),
                &["paused by you@host; to let it go on: outbox repair resume 7c1e"],
            ),
            (
                &speed(Some(50), None, Some("a@b")),
                &speed(Some(2000), Some("c@d"), None),
                &["it goes at 2,000 a second, as c@d asked", "it is resumed"],
            ),
            (&speed(None, None, Some("a@b")), &speed(None, None, Some("a@b")), &[]),
        ] {
            assert_eq!(changed(before, now, "outbox repair resume 7c1e"), said, "{before:?} {now:?}");
        }
    }
}
