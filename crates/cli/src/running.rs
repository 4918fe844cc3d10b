//! Relays and workers, by their reports: which of them is silent or waits, and what the workers of one RPC do. Only `ask` asks.

mod failing; // calls that failed since one succeeded
mod halted; // processes that make no progress
mod routers; // processes with different routes

use std::collections::BTreeMap;

use outbox_postgres::operate::Database;
use outbox_transport::operate::{Operator, SQS};
use outbox_transport::process::{Breaker, Program, RpcReport, Seen, Waits};
use serde::Serialize;

pub(crate) use failing::Failing;
pub(crate) use halted::{Halted, halted};
use halted::{stands, waits};
pub(crate) use routers::{Differing, differing};

use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, seconds_since};
use crate::stopped::Stopped;

/// Calls that take longer on average are slow.
const SLOW_SECONDS: f64 = 1.0;
/// So is a single one that takes longer: no other may have ended.
const STANDING_SECONDS: f64 = 8.0;
const TEXT_CHARS_MAX: usize = 300;
/// Names that are listed; the others are counted.
const LISTED_MAX: usize = 3;

/// All processes that wrote, also those that were killed lately.
#[derive(Debug, Default)]
pub(crate) struct Running(pub(crate) Vec<Seen>);

/// The workers of one RPC that are not silent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Serving {
    pub(crate) workers: usize,
    pub(crate) calls: usize,
    pub(crate) calls_max: usize,
    pub(crate) mean_seconds: f64,
    pub(crate) longest_seconds: f64,
    /// The age of the oldest message, if a worker measures the queue.
    #[serde(skip)]
    pub(crate) oldest_seconds: Option<f64>,
    #[serde(skip)]
    pub(crate) set_aside: BTreeMap<String, i64>,
    #[serde(skip)]
    pub(crate) breaker: Option<Breaker>,
    /// Workers with an open breaker: the name, for how long, and the last error.
    #[serde(skip)]
    pub(crate) open: Vec<String>,
    #[serde(skip)]
    pub(crate) held: Vec<String>,
    #[serde(skip)]
    pub(crate) failing: Failing,
    /// Workers that make no progress for this RPC, with the reason.
    #[serde(skip)]
    pub(crate) halted: Vec<String>,
}

impl Running {
    /// Relays and workers of these databases. On AWS workers are in the dedup table.
    pub(crate) async fn ask<O: Operator>(transports: &[O], databases: &[Database]) -> Result<Self, Stopped> {
        let mut seen = Vec::new();
        for transport in transports {
            seen.extend(transport.processes().await?);
        }
        if transports.iter().any(|transport| transport.source() == SQS) {
            for database in databases {
                seen.extend(database.processes().await?);
            }
        }
        Ok(Self(seen))
    }

    fn live(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter().filter(|seen| !seen.is_silent())
    }

    /// What the workers of this RPC do.
    pub(crate) fn workers(&self, source: &str, rpc: &str) -> Serving {
        let mut workers = Serving::default();
        let (mut ended, mut took) = (0, 0.0);
        let serving =
            self.live().filter(|seen| seen.source == source && seen.process.program == Program::Worker);
        let of_rpc = |seen: &'_ Seen| seen.process.report.rpcs.iter().position(|report| report.rpc == rpc);
        let serving: Vec<(&Seen, &RpcReport)> =
            serving.filter_map(|seen| Some((seen, &seen.process.report.rpcs[of_rpc(seen)?]))).collect();
        workers.failing = Failing::of(serving.iter().map(|(_, report)| *report));
        for (seen, report) in serving {
            workers.workers += 1;
            workers.calls += report.calls;
            workers.calls_max += report.calls_max;
            workers.longest_seconds = workers.longest_seconds.max(report.minute.longest_seconds);
            ended += report.minute.ended;
            took += report.minute.mean_seconds * report.minute.ended as f64;
            workers.breaker = workers.breaker.max(Some(report.breaker));
            if matches!(report.breaker, Breaker::Away | Breaker::Doubted) {
                workers.open.push(open(&seen.process.name, report));
            }
            workers.held.extend(report.held.clone());
            let oldest = report.oldest_at.map(|at| seconds_since(at).max(0.0));
            workers.oldest_seconds = workers.oldest_seconds.into_iter().chain(oldest).reduce(f64::max);
            for (code, count) in &report.set_aside {
                *workers.set_aside.entry(code.clone()).or_default() +=
                    i64::try_from(*count).unwrap_or(i64::MAX);
            }
            workers.halted.extend(halted_for(seen, rpc));
        }
        workers.held.sort();
        workers.held.dedup();
        workers.mean_seconds = if ended == 0 { 0.0 } else { took / ended as f64 };
        workers
    }

    /// Why the relays of this database may put nothing: one text for each that makes no progress. A silent one is a cause only
    /// if no other can lead.
    pub(crate) fn relays(&self, source: &str) -> Vec<String> {
        let is_ours = |seen: &&Seen| seen.source == source && seen.process.program == Program::Relay;
        let any_runs = self.live().any(|seen| is_ours(&seen));
        let relays = self.0.iter().filter(is_ours).filter(|seen| !(any_runs && seen.is_silent()));
        let told = relays.flat_map(|seen| {
            let name = line(&seen.process.name, NAME_CHARS_MAX);
            match seen.is_silent() {
                true => vec![format!("relay {name} is silent for {}", age(seen.seen_seconds_ago))],
                false => {
                    stands(seen).map(|(waits, seconds)| no_progress("relay", &name, waits, seconds)).collect()
                }
            }
        });
        told.collect()
    }

    /// Silent processes of each database and kind: how many, and what they are.
    pub(crate) fn silent(&self) -> Vec<(&str, Program, Vec<&Seen>)> {
        let mut groups: Vec<(&str, Program, Vec<&Seen>)> = Vec::new();
        for seen in self.0.iter().filter(|seen| seen.is_silent()) {
            let (source, program) = (seen.source.as_str(), seen.process.program);
            match groups.iter_mut().find(|group| (group.0, group.1) == (source, program)) {
                Some(group) => group.2.push(seen),
                None => groups.push((source, program, vec![seen])),
            }
        }
        groups
    }
}

impl Serving {
    /// Whether all calls that are allowed are under way, and slow.
    pub(crate) fn are_full_and_slow(&self) -> bool {
        let is_slow = self.mean_seconds >= SLOW_SECONDS || self.longest_seconds >= STANDING_SECONDS;
        self.calls_max > 0 && self.calls >= self.calls_max && is_slow
    }

    /// `all 32 of 32 calls are under way, and take 9.0s each (the longest 9.1s)`
    pub(crate) fn full(&self) -> String {
        let (calls, all, longest) = (self.calls, self.calls_max, age(self.longest_seconds));
        match self.mean_seconds > 0.0 {
            true => format!(
                "all {calls} of {all} calls are under way, and take {} each (the longest {longest})",
                age(self.mean_seconds)
            ),
            false => format!("all {calls} of {all} calls are under way, the longest for {longest}"),
        }
    }

    /// Why a message for this RPC may wait: one text for each cause that the workers know.
    pub(crate) fn causes(&self) -> Vec<String> {
        if self.workers == 0 {
            return vec!["no running worker reports this RPC".to_owned()];
        }
        let mut causes = Vec::new();
        if !self.open.is_empty() {
            causes.push(format!("its breaker is open in {}", self.which_are_open()));
        }
        causes.extend(self.held.iter().map(|reason| format!("it is held: {}", line(reason, TEXT_CHARS_MAX))));
        causes.extend(self.halted.iter().cloned());
        if self.are_full_and_slow() {
            causes.push(self.full());
        }
        causes
    }

    /// `1 of 3 workers: vm:1:ab for 40s, after unavailable: connection refused`
    pub(crate) fn which_are_open(&self) -> String {
        let noun = if self.workers == 1 { "worker" } else { "workers" };
        format!("{} of {} {noun}: {}", self.open.len(), self.workers, listed(&self.open))
    }
}

/// A part is named after its database, or after database and RPC. The name is that of the process: an operator may have given
/// the database another one.
fn halted_for(seen: &Seen, rpc: &str) -> Vec<String> {
    let name = line(&seen.process.name, NAME_CHARS_MAX);
    let concerns = |part: &str| part.split_once(' ').is_none_or(|(_, of)| of == rpc);
    let halted = waits(seen).filter(|(waits, _)| concerns(&waits.part));
    halted.map(|(waits, seconds)| no_progress("worker", &name, waits, seconds)).collect()
}

fn no_progress(program: &str, name: &str, waits: &Waits, seconds: Option<f64>) -> String {
    let time = seconds.map(|seconds| format!(" for {}", age(seconds))).unwrap_or_default();
    format!("{program} {name} makes no progress{time}: {}", line(&waits.reason, TEXT_CHARS_MAX))
}

fn open(worker: &str, report: &RpcReport) -> String {
    let since = report.breaker_since.map(|since| format!(" for {}", age(seconds_since(since))));
    let error = report.last_error.as_ref().map(|error| {
        format!(", after {}: {}", line(&error.code, NAME_CHARS_MAX), line(&error.text, TEXT_CHARS_MAX))
    });
    let (since, error) = (since.unwrap_or_default(), error.unwrap_or_default());
    format!("{}{since}{error}", line(worker, NAME_CHARS_MAX))
}

/// The first few, and how many more there are.
pub(crate) fn listed(texts: &[String]) -> String {
    let mut shown: Vec<String> =
        texts.iter().take(LISTED_MAX).map(|text| line(text, TEXT_CHARS_MAX * 2)).collect();
    if texts.len() > LISTED_MAX {
        shown.push(format!("and {} more", texts.len() - LISTED_MAX));
    }
    shown.join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use outbox_transport::process::{LastError, Minute, Process, Report};

    use super::*;

    pub(crate) fn seen(program: Program, name: &str, ago: f64, report: Report) -> Seen {
        let mut process = Process::new(program, name, "0.1.0", Some("http://vm:9465".to_owned()));
        process.report = report;
        Seen { source: "cards".into(), process, seen_seconds_ago: ago, silent_after_seconds: 10.0 }
    }

    pub(crate) fn serving(breaker: Breaker, calls: usize, mean_seconds: f64) -> Report {
        let away = breaker != Breaker::Closed;
        let error = LastError { code: "unavailable".into(), text: "refused".into(), at: chrono::Utc::now() };
        let rpc = RpcReport {
            rpc: "A/B".into(),
            breaker,
            last_error: away.then_some(error),
            calls,
            calls_max: 16,
            minute: Minute { ended: 10, mean_seconds, longest_seconds: mean_seconds + 0.1 },
            ..RpcReport::default()
        };
        Report { ready: true, rpcs: vec![rpc], ..Report::default() }
    }

    fn waiting(part: &str, seconds: Option<f64>) -> Report {
        let waits = Waits { part: part.into(), reason: "No space left on device".into(), seconds };
        Report { waits: vec![waits], ..serving(Breaker::Closed, 0, 0.0) }
    }

    /// Guards promise 8: the workers of an RPC are those that serve it and are not silent. Each cause of a wait is shown.
    #[test]
    fn each_cause_of_a_wait_is_told() {
        let worker = |name: &str, ago, report| seen(Program::Worker, name, ago, report);
        let well = || worker("w1", 1.0, serving(Breaker::Closed, 1, 0.01));
        let cases: [(Vec<Seen>, usize, &[&str]); 9] = [
            (vec![], 0, &["no running worker reports this RPC"]),
            (vec![seen(Program::Relay, "r", 1.0, Report::default())], 0, &["no running worker"]),
            (vec![worker("w1", 11.0, serving(Breaker::Closed, 1, 0.01))], 0, &["no running worker"]),
            (vec![well()], 1, &[]),
            (
                vec![well(), worker("w2", 1.0, serving(Breaker::Away, 0, 0.0))],
                2,
                &["its breaker is open in 1 of 2 workers: w2, after unavailable: refused"],
            ),
            (
                vec![worker("w1", 2.0, serving(Breaker::Closed, 16, 9.0))],
                1,
                &["all 16 of 16 calls are under way, and take 9.0s each (the longest 9.1s)"],
            ),
            (vec![worker("w1", 2.0, serving(Breaker::Closed, 16, 0.1))], 1, &[]),
            (
                vec![worker("w1", 2.0, waiting("cards A/B", Some(6.5)))],
                1,
                &["worker w1 makes no progress for 8.5s: No space left on device"],
            ),
            (vec![worker("w1", 2.0, waiting("cards A/B", Some(3.0)))], 1, &[]),
        ];
        for (all, workers, causes) in cases {
            let told = Running(all).workers("cards", "A/B");
            assert_eq!(told.workers, workers, "{told:?}");
            let said = told.causes();
            assert_eq!(said.len(), causes.len(), "{said:?} is not {causes:?}");
            assert!(said.iter().zip(causes).all(|(said, cause)| said.starts_with(cause)), "{said:?}");
        }
        let elsewhere = Running(vec![well()]).workers("ledger", "A/B");
        assert_eq!((elsewhere.workers, elsewhere.breaker), (0, None));
    }

    /// Guards promise 8: one reason that halts many is shown once, and silent processes are shown by kind.
    #[test]
    fn one_reason_is_told_once() {
        let running = Running(vec![
            seen(Program::Worker, "w1", 1.0, waiting("cards A/B", Some(30.0))),
            seen(Program::Worker, "w2", 1.0, waiting("cards A/C", Some(9.0))),
            seen(Program::Worker, "w3", 11.0, waiting("cards A/C", None)),
            seen(Program::Relay, "r1", 12.0, Report::default()),
        ]);
        let halted = halted(&running.0);
        assert_eq!(halted.len(), 1, "{halted:?}");
        assert_eq!(
            (&halted[0].names, &halted[0].parts, halted[0].seconds),
            (
                &vec!["w1".to_owned(), "w2".to_owned()],
                &vec!["cards A/B".to_owned(), "cards A/C".to_owned()],
                Some(31.0)
            )
        );
        let silent: Vec<_> =
            running.silent().iter().map(|(_, program, seen)| (*program, seen.len())).collect();
        assert_eq!(silent, [(Program::Worker, 1), (Program::Relay, 1)]);
    }

    /// Guards promise 8: an event that is not put may wait for a relay that makes no progress. It waits for a silent one only if
    /// no other runs: a standby that was killed is no cause.
    #[test]
    fn relays_say_why_nothing_is_put() {
        let halts = Report { rpcs: Vec::new(), ..waiting("cards", Some(30.0)) };
        let relay = |name: &str, ago, report| seen(Program::Relay, name, ago, report);
        let running = Running(vec![
            relay("r1", 14.0, Report::default()),
            relay("r2", 0.0, halts),
            relay("r3", 0.0, Report::default()),
            seen(Program::Worker, "w1", 14.0, Report::default()),
        ]);
        assert_eq!(running.relays("cards"), ["relay r2 makes no progress for 30s: No space left on device"]);
        assert!(running.relays("ledger").is_empty());
        let running = Running(vec![
            relay("r1", 14.0, Report::default()),
            seen(Program::Worker, "w2", 1.0, Report::default()),
        ]);
        assert_eq!(running.relays("cards"), ["relay r1 is silent for 14s"]);
    }

    /// Guards promise 8: a long list has its beginning and a count.
    #[test]
    fn lists_are_short() {
        let names: Vec<String> = (0..5).map(|n| format!("w{n}")).collect();
        assert_eq!(listed(&names), "w0, w1, w2, and 2 more");
        assert_eq!(listed(&names[..2]), "w0, w1");
    }
}
