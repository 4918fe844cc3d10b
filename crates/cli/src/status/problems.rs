//! Pure: finds what needs an operator, and the command that explains or repairs it.

#[cfg(test)]
mod tests;

use outbox_postgres::operate::{StuckRing, Transaction};
use outbox_transport::operate::{At, SetBrake, Undeliverable};

use super::answer::{Problem, RpcStatus, SourceStatus, Status};
use super::failing;
use super::workers::{Breaker, Workers};

use crate::brakes;
use crate::options::Options;
use crate::running::ADD_ADDRESS;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, counted, seconds_since};
use crate::stopped::Stopped;
use crate::stuck::{self, MEND};

/// Behind by more than this is stuck, not busy.
const LAG_SECONDS_MAX: f64 = 30.0;
/// A message that waits this long is not being processed.
const WAIT_SECONDS_MAX: f64 = 60.0;
/// A running worker receives at once, and writes its row at its start.
const UNSERVED_SECONDS_MAX: f64 = 8.0;
/// While all calls are slow.
const SLOW_SECONDS_MAX: f64 = 6.0;
/// It delays its own events, and keeps rows that it might still see in the tables.
const TRANSACTION_SECONDS_MAX: f64 = 60.0;
/// An application that wrote, and runs no statement for this time, has forgotten to commit.
const IDLE_SECONDS_MAX: f64 = 15.0;

const REASON_CHARS_MAX: usize = 400;

pub(crate) fn of(
    status: &Status,
    options: &Options,
    unreached: &[Stopped],
    workers: &Workers,
) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        unreached.iter().map(|stopped| Problem::remedy(stopped.problem.clone(), &stopped.remedy)).collect();
    problems.extend(status.sources.iter().flat_map(|source| of_source(source, options)));
    problems.extend(status.rpcs.iter().flat_map(|rpc| of_rpc(rpc, options)));
    if let Some(Undeliverable { queue, messages }) = &status.undeliverable
        && !messages.is_zero()
    {
        problems.push(Problem::both(
            format!("EventBridge could not deliver {}, which lie in {queue}", counted(messages, "event")),
            options.command(["replay", "--since", "24h"]),
            "correct what `outbox doctor` finds first, and purge that queue afterwards",
        ));
    }
    problems.extend(workers.silent.iter().map(|worker| {
        Problem::remedy(format!("a worker does not answer: {worker}"), "is it up? see --worker")
    }));
    problems
}

/// What operators set and nothing stands still for.
pub(crate) fn notices(status: &Status, options: &Options) -> Vec<Problem> {
    let limits = status.rpcs.iter().filter_map(|rpc| rpc.limit.as_ref());
    let notice = |limit: &SetBrake| {
        Problem::command(format!("{} is {}", limit.rpc, brakes::words(limit)), brakes::undo(options, limit))
    };
    limits.map(notice).collect()
}

fn of_source(source: &SourceStatus, options: &Options) -> Vec<Problem> {
    let (name, mut problems) = (&source.source, Vec::new());
    if source.leader.is_none() {
        problems.push(Problem::remedy(
            format!("no relay leads {name}"),
            "start `relay` for it; its log says what keeps it from leading",
        ));
    }
    if source.restored {
        problems.push(Problem::remedy(
            format!("{name}: the cursor is of another server (a restore, a copy, or logical replication): what was put and what waits is not known"),
            "start `relay`: it re-seeds the cursor by itself, and puts what was not put",
        ));
    }
    problems.extend(source.sequences_behind.iter().map(|behind| {
        Problem::remedy(
            format!("{name}: {}: what is numbered from it is not found again", stuck::behind(behind)),
            &format!("the relay that takes the lead next sets it right, or the schema's owner: {MEND}"),
        )
    }));
    problems.extend(failing::of_source(source));
    problems.extend(source.rings_stuck.iter().map(|ring| stuck_ring(name, ring)));
    if let (Some(lag_seconds), Some(oldest)) = (source.lag_seconds, &source.oldest_event)
        && lag_seconds > LAG_SECONDS_MAX
    {
        problems.push(Problem::command(
            format!(
                "{name} is behind: {} wait to be put, the oldest for {}",
                counted(source.waiting_events.unwrap_or_default(), "event"),
                age(lag_seconds)
            ),
            options.command(["why", oldest]),
        ));
    }
    if !source.parked.is_zero() {
        problems.push(Problem::command(
            format!("{} in {name}", counted(source.parked, "parked event")),
            options.command(["parked", "list"]),
        ));
    }
    if let Some(transaction) = &source.oldest_transaction
        && (transaction.age_seconds.is_some_and(|age| age > TRANSACTION_SECONDS_MAX)
            || is_forgotten(transaction))
    {
        let (pid, role) = (transaction.pid, transaction.user.as_deref());
        problems.push(Problem::remedy(
            format!(
                "a transaction in {name} is open for {} ({}): {}",
                age(transaction.age_seconds.unwrap_or_default()),
                stuck::session(pid, role, Some(&transaction.application)),
                stuck::delays(transaction.writes),
            ),
            &match transaction.writes {
                true => format!("end it in its application, or {}", stuck::ends_session(pid, role))
                    .replace('\n', " "),
                false => format!(
                    "let a backup or a migration end; otherwise end it in its application, or {}",
                    stuck::ends_session(pid, role)
                )
                .replace('\n', " "),
            },
        ));
    }
    problems
}

/// It has written, and waits for its application.
fn is_forgotten(transaction: &Transaction) -> bool {
    let is_idle = transaction.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"));
    let last = transaction.last_statement_at.and_then(At::known).map(seconds_since);
    transaction.writes && is_idle && last.is_some_and(|seconds| seconds > IDLE_SECONDS_MAX)
}

fn stuck_ring(name: &str, ring: &StuckRing) -> Problem {
    let held: Vec<String> = ring
        .holders
        .iter()
        .map(|holder| format!("slot {} is held by {}", holder.slot, stuck::holder(holder)))
        .collect();
    let remedy = match ring.holders.first() {
        Some(first) => stuck::ends(first).replace('\n', " "),
        None => stuck::otherwise(ring).to_owned(),
    };
    let held = if held.is_empty() { String::new() } else { format!(": {}", held.join(", ")) };
    Problem::remedy(
        format!("the {} ring of {name} can't turn, and its table grows{held}", ring.ring),
        &remedy,
    )
}

fn of_rpc(rpc: &RpcStatus, options: &Options) -> Vec<Problem> {
    let (depth, mut problems) = (&rpc.depth, Vec::new());
    if let Some(missing) = &depth.missing {
        problems.push(Problem::command(format!("{}: {missing}", depth.rpc), options.command(["doctor"])));
    }
    if !depth.dead.is_zero() {
        problems.push(Problem::command(
            format!("{} of {}", counted(depth.dead, "dead letter"), depth.rpc),
            options.command(["dlq", "list", "--rpc", &depth.rpc]),
        ));
    }
    if let Some(aside) = &depth.set_aside {
        problems.push(Problem::remedy(
            format!(
                "{} of {} can't be moved to the dead letters: {}",
                counted(aside.messages, "message"),
                depth.rpc,
                line(&aside.reason, REASON_CHARS_MAX)
            ),
            "correct what refuses them (`outbox doctor` checks queues and permissions); the workers try each again by themselves",
        ));
    }
    if rpc.breaker == Some(Breaker::Open) {
        let open = &rpc.serving.open;
        let which =
            if open.is_empty() { String::new() } else { format!(" in {}", rpc.serving.which_are_open()) };
        problems.push(Problem::remedy(
            format!(
                "the server of {} is away, or fails for different events in a row: its breaker is open{which}",
                depth.rpc
            ),
            match !open.is_empty() && open.len() < rpc.serving.workers {
                true => "the other workers reach it: see the --endpoint and the network of this one; it looks again by itself",
                false => "see its logs; the workers look again by themselves",
            },
        ));
    }
    problems.extend(rpc.held.iter().map(|reason| {
        Problem::both(
            format!(
                "{} is held, as different events are refused alike ({}): they wait, and nothing is dead-lettered; it goes on \
                 when one succeeds, and after six hours they are dead-lettered slowly",
                depth.rpc,
                line(reason, NAME_CHARS_MAX * 3)
            ),
            options.command(["poison", "--rpc", &depth.rpc]),
            "that is for broken events; if the server is broken, repair it",
        )
    }));
    // The pause is why its messages wait.
    if let Some(pause) = &rpc.pause {
        problems.push(Problem::command(
            format!("{} is {}", depth.rpc, brakes::words(pause)),
            brakes::undo(options, pause),
        ));
        return problems;
    }
    if rpc.breaker != Some(Breaker::Open) && rpc.held.is_empty() {
        problems.extend(failing::of_rpc(rpc, options).or_else(|| failing::of_event(rpc, options)));
    }
    let lies = !depth.waiting.is_zero();
    let waits_for = |seconds: f64| lies && depth.oldest_seconds.is_none_or(|age| age > seconds);
    let unserved = rpc.serving.workers == 0;
    if lies && rpc.routed == Some(false) && unserved {
        problems.push(Problem::remedy(
            format!(
                "{} for {}, which event_router.yaml does not have: no worker receives them",
                counted(depth.waiting, "message"),
                depth.rpc
            ),
            &elsewhere(&depth.rpc, options),
        ));
    } else if let Some(service) = rpc.serving.unaddressed.as_ref().filter(|_| unserved) {
        let waiting = match lies {
            true => format!("{} for {} wait{}", counted(depth.waiting, "message"), depth.rpc, oldest(rpc)),
            false => format!("the queue of {} waits", depth.rpc),
        };
        let problem = format!("no worker has an address for {service}: {waiting}");
        problems.push(Problem::remedy(problem, ADD_ADDRESS));
    } else if unserved && waits_for(UNSERVED_SECONDS_MAX) {
        problems.push(Problem::remedy(
            format!(
                "{} for {} wait{}, and no running worker reports this RPC",
                counted(depth.waiting, "message"),
                depth.rpc,
                oldest(rpc)
            ),
            "start a worker whose event_router.yaml has it; if one runs, its log has the reason why it can't write here",
        ));
    } else if rpc.serving.are_full_and_slow() && waits_for(SLOW_SECONDS_MAX) {
        let more = rpc.serving.more_calls().to_string();
        problems.push(Problem::remedy(
            format!(
                "{} for {} wait{}, and {}",
                counted(depth.waiting, "message"),
                depth.rpc,
                oldest(rpc),
                rpc.serving.full()
            ),
            &format!(
                "its server is slow: see its logs; if it can take more, start more workers, raise `concurrency` in event_router.yaml, or for an hour: {}",
                options.command(["limit", "--rpc", &depth.rpc, "--concurrency", &more, "--why", "its server can take more"])
            ),
        ));
    } else if lies && depth.oldest_seconds.is_some_and(|age| age > WAIT_SECONDS_MAX) {
        let problem = format!(
            "{} for {} wait, the oldest for {}",
            counted(depth.waiting, "message"),
            depth.rpc,
            age(depth.oldest_seconds.unwrap_or_default())
        );
        problems.push(match depth.oldest_event {
            Some(event) => Problem::command(problem, options.command(["why", &event.to_string()])),
            None => Problem::remedy(problem, "is a worker up for it?"),
        });
    }
    problems
}

/// Where messages of an RPC without a route can go.
fn elsewhere(rpc: &str, options: &Options) -> String {
    format!(
        "add the RPC again, else they are dead letters after 14 days\n  to move them to its new name: {}\n  to drop them: {}",
        options.command(["queue", "move", "--from", rpc, "--to", "SERVICE/METHOD"]),
        options.command(["queue", "drop", "--rpc", rpc])
    )
}

fn oldest(rpc: &RpcStatus) -> String {
    rpc.depth.oldest_seconds.map(|seconds| format!(", the oldest for {}", age(seconds))).unwrap_or_default()
}
