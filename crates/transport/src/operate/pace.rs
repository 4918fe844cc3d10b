//! How fast a repair of many things goes. Operators may change that while it runs.

use serde::Serialize;

use super::error::OperateError;

/// So many a second at most.
pub const RATE_MAX: u32 = 10_000;

/// What a running repair is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many a second.
    Rate(u32),
    /// It holds still, and keeps its beat.
    Pause,
    /// It goes on, at the rate that it had.
    Resume,
}

impl Change {
    /// Pure: what no repair, or not this one, can follow.
    pub fn check(self, speed: &Speed) -> Result<(), OperateError> {
        match self {
            Self::Rate(rate) if rate == 0 || rate > RATE_MAX => Err(OperateError::failed(
                "no repair has this rate",
                format!("pass a rate from 1 to {RATE_MAX}, or pause it"),
            )),
            Self::Rate(_) if speed.rate.is_none() => {
                Err(OperateError::failed("this repair has no rate", "it can be paused or stopped"))
            }
            _ => Ok(()),
        }
    }
}

/// How fast a repair goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Speed {
    /// So many a second. None of a drop.
    pub rate: Option<u32>,
    /// Who asked for that rate. None: its own command.
    pub rate_by: Option<String>,
    /// Who has paused it.
    pub paused_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a repair without a rate can be paused, and gets none. No repair gets one that it can't keep.
    #[test]
    fn only_a_rate_is_changed_that_there_is() {
        let (with, without) = (Speed { rate: Some(50), ..Speed::default() }, Speed::default());
        for (change, speed, why) in [
            (Change::Rate(1), &with, None),
            (Change::Rate(RATE_MAX), &with, None),
            (Change::Rate(0), &with, Some("no repair has this rate")),
            (Change::Rate(RATE_MAX + 1), &with, Some("no repair has this rate")),
            (Change::Rate(50), &without, Some("this repair has no rate")),
            (Change::Pause, &with, None),
            (Change::Pause, &without, None),
            (Change::Resume, &without, None),
        ] {
            let refused = change.check(speed).err().map(|refused| refused.problem);
            assert_eq!(refused.as_deref(), why, "{change:?} {speed:?}");
        }
    }
}
