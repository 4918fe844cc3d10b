//! When a repair stops by itself, because what it moves dies again.

use std::time::Duration;

use outbox_transport::operate::{Fates, thousands};

use crate::show::age;

/// What stops a repair that does no good.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RuleArgs {
    /// First move so many, and wait until they are done. If one dies again, or is not done in time, nothing more is moved.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) canary: Option<u32>,

    /// For how long at most to wait for them.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME", requires = "canary")]
    pub(crate) canary_for: Duration,

    /// Stop when so many of the moved ones have died again. It is looked at every two seconds.
    ///
    /// On SQS 100 of them are asked about each time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stop_if_dead: Option<u32>,
}

/// Why a repair does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    Interrupted,
    /// With the reason.
    Stopped(String),
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rule {
    pub(crate) stop_if_dead: Option<u32>,
    pub(crate) canary_for: Duration,
}

impl Rule {
    pub(crate) fn of(args: &RuleArgs) -> Self {
        Self { stop_if_dead: args.stop_if_dead, canary_for: args.canary_for }
    }

    /// Pure: whether enough has died again.
    pub(crate) fn dead(self, fates: Fates) -> Option<Halt> {
        let most = i64::from(self.stop_if_dead?);
        (fates.dead >= most).then(|| {
            Halt::Stopped(format!(
                "because {} of the moved ones died again (--stop-if-dead {most})",
                thousands(fates.dead)
            ))
        })
    }

    /// Pure: after the first few were moved. `None`: wait; `Some(None)`: all are done, and it goes on.
    pub(crate) fn canary(self, fates: Fates, waited: Duration) -> Option<Option<Halt>> {
        if fates.dead > 0 {
            let why = format!("because {} of the first ones died again (--canary)", thousands(fates.dead));
            return Some(Some(Halt::Stopped(why)));
        }
        if fates.waiting == 0 {
            return Some(None);
        }
        (waited >= self.canary_for).then(|| {
            Some(Halt::Stopped(format!(
                "because {} of the first ones were not done within {} (--canary)",
                thousands(fates.waiting),
                age(self.canary_for.as_secs_f64())
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a repair stops when what it moved dies again, and goes on when the first ones are done.
    #[test]
    fn what_dies_again_stops_a_repair() {
        let rule = Rule { stop_if_dead: Some(3), canary_for: Duration::from_secs(300) };
        let fates = |waiting, dead| Fates { waiting, dead };
        for (dead, stops) in [(0, false), (2, false), (3, true), (4, true)] {
            assert_eq!(rule.dead(fates(9, dead)).is_some(), stops, "{dead}");
            assert_eq!(Rule { stop_if_dead: None, ..rule }.dead(fates(9, dead)), None);
        }
        for (waiting, dead, waited, ends) in [
            (1, 0, 0, None),
            (1, 0, 299, None),
            (0, 0, 0, Some(None)),
            (0, 1, 0, Some(Some("because 1 of the first ones died again"))),
            (1, 1, 0, Some(Some("because 1 of the first ones died again"))),
            (2, 0, 300, Some(Some("because 2 of the first ones were not done within 5m"))),
        ] {
            let said = rule.canary(fates(waiting, dead), Duration::from_secs(waited));
            match (&said, ends) {
                (Some(Some(Halt::Stopped(why))), Some(Some(begins))) => {
                    assert!(why.starts_with(begins), "{why}");
                }
                (None, None) | (Some(None), Some(None)) => {}
                _ => panic!("{waiting} {dead} {waited}: {said:?}"),
            }
        }
    }
}
