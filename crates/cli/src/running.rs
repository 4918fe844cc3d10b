//! Relays and workers, by their reports: which of them is silent or waits, and what the workers of one RPC do. Only `ask` asks.

mod failing; // calls that failed since one succeeded
mod five_minutes; // codes, times and rates
mod halted; // processes that make no progress
mod routers; // processes with different routes

use std::collections::BTreeMap;

use outbox_event_router::Policy;
use outbox_postgres::operate::Database;
use outbox_transport::operate::{Operator, SQS};
use outbox_transport::process::{Breaker, FailsOften, Program, RpcReport, STANDING_SECONDS, Seen, Waits};
use serde::Serialize;

pub(crate) use failing::Failing;
pub(crate) use five_minutes::{Bound, FiveMinutes};
use halted::stands;
pub(crate) use halted::{Halted, halted};
pub(crate) use routers::{Differing, differing};

use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, seconds_since};
use crate::stopped::Stopped;

/// Calls that take longer on average are slow.
const SLOW_SECONDS: f64 = 1.0;
const TEXT_CHARS_MAX: usize = 300;
/// Names that are listed; the others are counted.
const LISTED_MAX: usize = 3;

pub(crate) const ADD_ADDRESS: &str = "add it to services.yaml or pass --endpoint";

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
    /// `None`: not known.
    pub(crate) five_minutes: Option<FiveMinutes>,
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
    /// The service, if a worker has the RPC and no address for it.
    #[serde(skip)]
    pub(crate) unaddressed: Option<String>,
    #[serde(skip)]
    pub(crate) failing: Failing,
    /// The last event that failed again and again in any worker.
    #[serde(skip)]
    pub(crate) fails_often: Option<FailsOften>,
    /// Workers that make no progress for this RPC, with the reason.
    #[serde(skip)]
    pub(crate) halted: Vec<String>,
    /// Whether none of these workers makes progress for this RPC.
    pub(crate) stands_still: bool,
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
        let (mut ended, mut took, mut standing) = (0, 0.0, 0);
        let serving =
            self.live().filter(|seen| seen.source == source && seen.process.program == Program::Worker);
        let of_rpc = |seen: &'_ Seen| seen.process.report.rpcs.iter().position(|report| report.rpc == rpc);
        let serving: Vec<(&Seen, &RpcReport)> =
            serving.filter_map(|seen| Some((seen, &seen.process.report.rpcs[of_rpc(seen)?]))).collect();
        workers.failing = Failing::of(serving.iter().map(|(_, report)| *report));
        let often = serving.iter().filter_map(|(_, report)| report.fails_often.as_ref());
        workers.fails_often = often.max_by_key(|often| often.error.at).cloned();
        let reports = serving.iter().map(|(_, report)| *report);
        workers.five_minutes = FiveMinutes::of(reports.filter(|report| report.unaddressed.is_none()));
        for (seen, report) in serving {
            if let Some(service) = &report.unaddressed {
                workers.unaddressed = Some(service.clone());
                continue;
            }
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
            standing += usize::from(stands_for(seen, rpc));
        }
        workers.stands_still = workers.workers > 0 && standing == workers.workers;
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

    /// Twice as many calls at a time, for each worker.
    pub(crate) fn more_calls(&self) -> usize {
        let each = self.calls_max.div_ceil(self.workers.max(1));
        (each * 2).clamp(1, Policy::CONCURRENCY_MAX)
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
        if let Some(problem) = self.no_address() {
            return vec![problem];
        }
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

    /// If no worker knows where the service is.
    pub(crate) fn no_address(&self) -> Option<String> {
        let service = self.unaddressed.as_ref().filter(|_| self.workers == 0)?;
        let service = line(service, NAME_CHARS_MAX);
        Some(format!("no worker has an address for {service}: {ADD_ADDRESS}"))
    }

    /// `1 of 3 workers: vm:1:ab for 40s, after unavailable: connection refused`
    pub(crate) fn which_are_open(&self) -> String {
        let noun = if self.workers == 1 { "worker" } else { "workers" };
        format!("{} of {} {noun}: {}", self.open.len(), self.workers, listed(&self.open))
    }
}

/// The name is that of the process: an operator may have given the database another one.
fn halted_for(seen: &Seen, rpc: &str) -> Vec<String> {
    let name = line(&seen.process.name, NAME_CHARS_MAX);
    let concerns = |part: &str| rpc_of(part).is_none_or(|of| of == rpc);
    let halted = stands(seen).filter(|(waits, _)| concerns(&waits.part));
    halted.map(|(waits, seconds)| no_progress("worker", &name, waits, seconds)).collect()
}

fn stands_for(seen: &Seen, rpc: &str) -> bool {
    stands(seen).any(|(waits, _)| rpc_of(&waits.part) == Some(rpc))
}

/// A part is named after its database, or after database and RPC. The part of its records has another word after that.
fn rpc_of(part: &str) -> Option<&str> {
    let (_, of) = part.split_once(' ')?;
    Some(of.split(' ').next().unwrap_or(of))
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
pub(crate) mod tests;
