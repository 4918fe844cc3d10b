//! Pauses and limits that are set: how they are read, changed, and shown.

use std::process::ExitCode;
use std::time::Duration;

use outbox_event_router::Rpc;
use outbox_transport::operate::{Operator, Repair, SetBrake};
use outbox_transport::{BRAKE_MAX, Brake, BrakeKind, WHY_CHARS_MAX};
use serde::Serialize;

use crate::filter;
use crate::options::Options;
use crate::repair;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, moment_of};
use crate::stopped::Stopped;

/// What is set, by source.
#[derive(Debug, Default)]
pub(crate) struct Brakes(Vec<(String, SetBrake)>);

impl Brakes {
    pub(crate) async fn ask(transports: &[impl Operator]) -> Result<Self, Stopped> {
        let mut all = Vec::new();
        for transport in transports {
            let source = transport.source().to_owned();
            all.extend(transport.brakes().await?.into_iter().map(|set| (source.clone(), set)));
        }
        Ok(Self(all))
    }

    pub(crate) fn of(&self, source: &str, rpc: &str, kind: BrakeKind) -> Option<&SetBrake> {
        let is_it =
            |(of, set): &&(String, SetBrake)| of == source && set.rpc == rpc && set.brake.kind() == kind;
        self.0.iter().find(is_it).map(|(_, set)| set)
    }
}

/// `paused until 2026-11-22T04:04:05Z (in 12m 3s) by me@host: a bad deploy`
pub(crate) fn words(set: &SetBrake) -> String {
    let what = match set.brake {
        Brake::Pause => "paused".to_owned(),
        Brake::Limit { concurrency, rate_per_second } => {
            let calls = concurrency.map(|many| format!("{many} calls at a time in each worker"));
            let rate = rate_per_second.map(|rate| format!("{rate} calls a second in each worker"));
            format!("limited to {}", calls.into_iter().chain(rate).collect::<Vec<_>>().join(" and "))
        }
    };
    let (who, why) = (line(&set.who, NAME_CHARS_MAX), line(&set.why, WHY_CHARS_MAX));
    format!("{what} until {} by {who}: {why}", moment_of(set.until))
}

/// The command that ends it.
pub(crate) fn undo(options: &Options, set: &SetBrake) -> String {
    match set.brake {
        Brake::Pause => options.command(["resume", "--rpc", &set.rpc]),
        Brake::Limit { .. } => options.command(["limit", "--rpc", &set.rpc, "--clear"]),
    }
}

/// A change; the names are stable.
#[derive(Debug, Serialize)]
struct Changed {
    rpc: String,
    #[serde(flatten)]
    brake: Option<Brake>,
    /// How long it lasts; `None` if it was ended.
    seconds: Option<u64>,
    /// In how many databases, or on SQS.
    changed: u64,
}

/// The RPC of a command, and the command's options.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) rpc: &'a Rpc,
    pub(crate) options: &'a Options,
}

impl Wanted<'_> {
    /// Sets a brake on every transport, and says so.
    pub(crate) async fn set<O: Operator>(
        &self,
        transports: &[O],
        (brake, time, why): (Brake, Duration, &str),
        done: impl FnOnce() -> String,
    ) -> Result<ExitCode, Stopped> {
        let change = async |transport: &O, repair: &Repair| {
            transport.brake(repair, self.rpc, brake, time, why).await.map(|()| true)
        };
        let seconds = Some(time.as_secs());
        let changed = Changed { rpc: self.rpc.to_string(), brake: Some(brake), seconds, changed: 0 };
        if let Some(changed) = self.change(transports, changed, change).await? {
            self.options.answer(&changed, done)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Ends a brake on every transport, and says so. There must be one.
    pub(crate) async fn lift<O: Operator>(
        &self,
        transports: &[O],
        kind: BrakeKind,
        done: impl FnOnce() -> String,
    ) -> Result<ExitCode, Stopped> {
        let change = async |transport: &O, repair: &Repair| transport.lift(repair, self.rpc, kind).await;
        let changed = Changed { rpc: self.rpc.to_string(), brake: None, seconds: None, changed: 0 };
        let Some(changed) = self.change(transports, changed, change).await? else {
            let state = match kind {
                BrakeKind::Pause => "paused",
                BrakeKind::Limit => "limited",
            };
            return Err(Stopped::failed(
                format!("{} is not {state}: nothing was changed", self.rpc),
                "`outbox status` shows what is paused or limited, and until when",
            ));
        };
        self.options.answer(&changed, done)?;
        Ok(ExitCode::SUCCESS)
    }

    /// `None` if nothing was changed anywhere.
    async fn change<O: Operator>(
        &self,
        transports: &[O],
        mut changed: Changed,
        change: impl AsyncFn(&O, &Repair) -> Result<bool, outbox_transport::operate::OperateError>,
    ) -> Result<Option<Changed>, Stopped> {
        filter::rpc(self.options, transports, Some(self.rpc)).await?;
        let repair = repair::begin(&self.options.asked, transports, true).await?;
        for transport in transports {
            match change(transport, &repair).await {
                Ok(was) => changed.changed += u64::from(was),
                Err(error) => {
                    repair::end(repair, transports, &error.problem).await;
                    return Err(error.into());
                }
            }
        }
        repair::end(repair, transports, &changed).await;
        Ok((changed.changed > 0).then_some(changed))
    }
}

/// How long a brake lasts.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time < Duration::from_secs(1) => Err("at least 1s".to_owned()),
        Ok(time) if time <= BRAKE_MAX => Ok(time),
        Ok(_) => Err("at most 2days".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A reason that others can read.
pub(crate) fn why(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why, for those who find it".to_owned()),
        text if text.chars().count() > WHY_CHARS_MAX => Err(format!("at most {WHY_CHARS_MAX} characters")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;

    /// Guards promise 8: who set what, why, and until when is shown on one line.
    #[test]
    fn a_brake_is_shown_with_its_reason() {
        let limit = |concurrency, rate_per_second| Brake::Limit { concurrency, rate_per_second };
        for (brake, begins) in [
            (Brake::Pause, "paused until 2"),
            (limit(Some(4), None), "limited to 4 calls at a time in each worker until 2"),
            (limit(None, Some(50)), "limited to 50 calls a second in each worker until 2"),
            (
                limit(Some(4), Some(50)),
                "limited to 4 calls at a time in each worker and 50 calls a second in each worker until 2",
            ),
        ] {
            let now = Utc::now();
            let set = SetBrake {
                rpc: "A/B".into(),
                brake,
                since: now.into(),
                until: (now + TimeDelta::hours(1)).into(),
                who: "me@host".into(),
                why: "a bad\ndeploy".into(),
            };
            let shown = words(&set);
            assert!(shown.starts_with(begins) && shown.ends_with(" by me@host: a bad deploy"), "{shown}");
        }
    }

    /// Guards: a brake ends by itself, within its longest time, and has a reason.
    #[test]
    fn times_and_reasons_are_checked() {
        let parsed = |text| time(text).map(|time| time.as_secs());
        assert_eq!((parsed("30m"), parsed("2days")), (Ok(1800), Ok(172_800)));
        assert_eq!(parsed("3days").unwrap_err(), "at most 2days");
        assert_eq!(parsed("0s").unwrap_err(), "at least 1s");
        assert!(parsed("soon").is_err() && why("  ").is_err() && why(&"x".repeat(501)).is_err());
        assert_eq!(why(" a bad deploy "), Ok("a bad deploy".to_owned()));
    }
}
