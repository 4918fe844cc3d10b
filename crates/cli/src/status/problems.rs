//! Pure: finds what needs an operator, and the command that explains or repairs it.

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
        problems.push(Problem {
            problem: format!(
                "EventBridge could not deliver {}, which lie in {queue}",
                counted(messages, "event")
            ),
            command: Some(options.command(["replay", "--since", "24h"])),
            remedy: Some(
                "correct what `outbox doctor` finds first, and purge that queue afterwards".to_owned(),
            ),
        });
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
    problems.extend(rpc.held.iter().map(|reason| Problem {
        problem: format!(
            "{} is held, as different events are refused alike ({}): they wait, and nothing is dead-lettered; it goes on \
             when one succeeds, and after six hours they are dead-lettered slowly",
            depth.rpc,
            line(reason, NAME_CHARS_MAX * 3)
        ),
        command: Some(options.command(["poison", "--rpc", &depth.rpc])),
        remedy: Some("that is for broken events; if the server is broken, repair it".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use outbox_postgres::operate::{Behind, Holder, Leader};
    use outbox_transport::Brake;
    use outbox_transport::operate::Count;
    use outbox_transport::operate::{Depth, SetAside};
    use outbox_transport::process::{FailsOften, LastError};

    use crate::running::Serving;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn source() -> SourceStatus {
        SourceStatus {
            source: "cards".into(),
            leader: Some(Leader {
                application: "outbox relay".into(),
                pid: 7,
                address: None,
                connected_at: None,
            }),
            lag_seconds: Some(0.0),
            waiting_events: Some(Count::default()),
            oldest_event: None,
            put_at: None,
            put_by: None,
            parked: Count::default(),
            sees_transactions: true,
            blind_role: None,
            oldest_transaction: None,
            outbox_bytes: 0,
            restored: false,
            sequences_behind: Vec::new(),
            rings_stuck: Vec::new(),
            unknown_events: Vec::new(),
            known_events: vec!["event_card_issued".to_owned()],
        }
    }

    fn rpc() -> RpcStatus {
        let depth = Depth::empty(&outbox_event_router::Rpc::new("A/B").unwrap());
        RpcStatus {
            source: "cards".into(),
            depth,
            breaker: None,
            held: Vec::new(),
            calls: None,
            pause: None,
            limit: None,
            serving: Serving { workers: 1, ..Serving::default() },
            routed: Some(true),
        }
    }

    fn set(brake: Brake) -> Option<SetBrake> {
        let (now, who, why) = (chrono::Utc::now(), "me@host".to_owned(), "a bad deploy".to_owned());
        let until = (now + chrono::TimeDelta::minutes(30)).into();
        Some(SetBrake { rpc: "A/B".into(), brake, since: now.into(), until, who, why })
    }

    fn slow() -> Serving {
        Serving {
            workers: 2,
            calls: 32,
            calls_max: 32,
            mean_seconds: 9.0,
            longest_seconds: 9.1,
            ..Serving::default()
        }
    }

    fn transaction(age_seconds: f64, writes: bool) -> Transaction {
        Transaction {
            pid: 42,
            application: "batch".into(),
            user: Some("svc".into()),
            state: None,
            began_at: None,
            age_seconds: Some(age_seconds),
            last_statement_at: None,
            writes,
        }
    }

    /// It wrote at its beginning, and has been idle since.
    fn forgotten(seconds: i64) -> Transaction {
        let last = chrono::Utc::now() - chrono::TimeDelta::seconds(seconds);
        Transaction {
            state: Some("idle in transaction".into()),
            last_statement_at: Some(last.into()),
            ..transaction(seconds as f64, true)
        }
    }

    /// An event that fails, while others of its RPC are delivered.
    fn poisoned(ago: i64) -> Serving {
        let at = chrono::Utc::now() - chrono::TimeDelta::seconds(ago);
        let error = LastError { code: "internal".into(), text: "no such card".into(), at };
        let often = FailsOften { event: "id-1".into(), attempt: 9, error };
        Serving { workers: 1, fails_often: Some(often), ..Serving::default() }
    }

    /// Guards: a stuck part is a problem with its remedy, and a busy part is not.
    #[test]
    fn each_problem_has_its_line() {
        let status = |source: SourceStatus, rpc: RpcStatus| Status {
            counted_max: 10_000,
            sources: vec![source],
            rpcs: vec![rpc],
            processes: Vec::new(),
            undeliverable: None,
            problems: Vec::new(),
            notices: Vec::new(),
        };
        let options = Cli::parse_from(["outbox", "--router", "event_router.yaml"]).options;
        let told = |status: &Status| -> Vec<String> {
            of(status, &options, &[], &Workers::default()).iter().map(Problem::to_string).collect()
        };
        let busy = SourceStatus {
            waiting_events: Some(Count::new(10_001)),
            oldest_event: Some("id-1".into()),
            lag_seconds: Some(29.0),
            oldest_transaction: Some(transaction(59.0, true)),
            ..source()
        };
        let depth = Depth { waiting: Count::new(500), oldest_seconds: Some(59.0), ..rpc().depth };
        let working = RpcStatus { breaker: Some(Breaker::HalfOpen), depth, ..rpc() };
        assert_eq!(told(&status(busy, working)), [] as [&str; 0]);
        let ends = SourceStatus { oldest_transaction: Some(forgotten(14)), ..source() };
        assert_eq!(told(&status(ends, rpc())), [] as [&str; 0]);
        // It was delivered since, or by another worker.
        let long_ago = Depth { retrying: Some(Count::new(1)), ..rpc().depth };
        for (serving, depth) in [(poisoned(1), rpc().depth), (poisoned(1000), long_ago)] {
            assert_eq!(told(&status(source(), RpcStatus { serving, depth, ..rpc() })), [] as [&str; 0]);
        }

        let dump = Holder {
            slot: 3,
            pid: Some(7),
            prepared: None,
            role: Some("me".into()),
            application: Some("pg_dump".into()),
            writes: false,
        };
        for (source, rpc, expected) in [
            (SourceStatus { leader: None, ..source() }, rpc(), "no relay leads cards: start `relay`"),
            (
                SourceStatus { restored: true, lag_seconds: None, waiting_events: None, ..source() },
                rpc(),
                "cards: the cursor is of another server",
            ),
            (
                SourceStatus {
                    sequences_behind: vec![Behind { sequence: "event_seq".into(), stands_at: 3, used: 20 }],
                    ..source()
                },
                rpc(),
                "cards: the sequence event_seq is behind its table: it stands at 3, and 20 is used",
            ),
            (
                SourceStatus {
                    rings_stuck: vec![StuckRing { ring: "event".into(), seconds: 9.0, holders: Vec::new() }],
                    ..source()
                },
                rpc(),
                "the event ring of cards can't turn, and its table grows: its slots hold events that are not put",
            ),
            (
                SourceStatus {
                    rings_stuck: vec![StuckRing { ring: "event".into(), seconds: 9.0, holders: vec![dump] }],
                    ..source()
                },
                rpc(),
                "the event ring of cards can't turn, and its table grows: slot 3 is held by pid 7 (me, pg_dump), which reads: end it",
            ),
            (
                SourceStatus {
                    lag_seconds: Some(31.0),
                    waiting_events: Some(Count::new(2)),
                    oldest_event: Some("id-1".into()),
                    ..source()
                },
                rpc(),
                "cards is behind: 2 events wait to be put, the oldest for 31s: outbox why id-1",
            ),
            (
                SourceStatus { parked: Count::new(1), ..source() },
                rpc(),
                "1 parked event in cards: outbox parked list",
            ),
            (
                SourceStatus { oldest_transaction: Some(transaction(61.0, true)), ..source() },
                rpc(),
                "a transaction in cards is open for 1m 1s (pid 42 (svc, batch)): its own events wait until it ends",
            ),
            (
                SourceStatus { oldest_transaction: Some(transaction(61.0, false)), ..source() },
                rpc(),
                "a transaction in cards is open for 1m 1s (pid 42 (svc, batch)): it only reads and holds nothing of the outbox up",
            ),
            (
                SourceStatus { oldest_transaction: Some(forgotten(20)), ..source() },
                rpc(),
                "a transaction in cards is open for 20s (pid 42 (svc, batch)): its own events wait until it ends",
            ),
            (
                source(),
                RpcStatus { depth: Depth { dead: Count::new(3), ..rpc().depth }, ..rpc() },
                "3 dead letters of A/B: outbox dlq list --rpc A/B",
            ),
            (
                source(),
                RpcStatus { breaker: Some(Breaker::Open), ..rpc() },
                "the server of A/B is away, or fails",
            ),
            (
                source(),
                RpcStatus {
                    breaker: Some(Breaker::Held),
                    held: vec!["data_loss: card # is lost".into()],
                    ..rpc()
                },
                "A/B is held, as different events are refused alike (data_loss: card # is lost): they wait",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth {
                        set_aside: Some(SetAside {
                            messages: Count::new(2),
                            reason: "AccessDenied\u{1b}[2J".into(),
                        }),
                        ..rpc().depth
                    },
                    ..rpc()
                },
                "2 messages of A/B can't be moved to the dead letters: AccessDenied",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth { waiting: Count::new(1), ..rpc().depth },
                    serving: Serving::default(),
                    routed: Some(false),
                    ..rpc()
                },
                "1 message for A/B, which event_router.yaml does not have",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth { waiting: Count::new(9), oldest_seconds: Some(61.0), ..rpc().depth },
                    ..rpc()
                },
                "9 messages for A/B wait, the oldest for 1m 1s: is a worker up for it?",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth { waiting: Count::new(9), oldest_seconds: Some(8.5), ..rpc().depth },
                    serving: Serving::default(),
                    ..rpc()
                },
                "9 messages for A/B wait, the oldest for 8.5s, and no running worker reports this RPC: start",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth { waiting: Count::new(9), oldest_seconds: Some(9.0), ..rpc().depth },
                    serving: slow(),
                    ..rpc()
                },
                "9 messages for A/B wait, the oldest for 9.0s, and all 32 of 32 calls are under way, and take 9.0s each",
            ),
            (
                source(),
                RpcStatus {
                    depth: Depth { retrying: Some(Count::new(1)), ..rpc().depth },
                    serving: poisoned(1),
                    ..rpc()
                },
                "event id-1 of A/B failed at attempt 9 with internal: no such card: outbox queue list --rpc A/B --state retrying",
            ),
            (
                source(),
                RpcStatus {
                    breaker: Some(Breaker::Open),
                    serving: Serving {
                        workers: 3,
                        open: vec!["w1, after unavailable: refused".into()],
                        ..Serving::default()
                    },
                    ..rpc()
                },
                "the server of A/B is away, or fails for different events in a row: its breaker is open in 1 of 3 workers: w1, after unavailable: refused: the other workers reach it",
            ),
        ] {
            let told = told(&status(source, rpc));
            assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?} is not {expected}");
        }
        let waits = Depth { waiting: Count::new(9), oldest_seconds: Some(6000.0), ..rpc().depth };
        let paused = RpcStatus { pause: set(Brake::Pause), depth: waits, ..rpc() };
        let said = told(&status(source(), paused));
        assert!(said.len() == 1 && said[0].starts_with("A/B is paused until 2"), "{said:?}");
        assert!(said[0].contains(" by me@host: a bad deploy: outbox resume --rpc A/B"), "{said:?}");
        let limit = set(Brake::Limit { concurrency: Some(2), rate_per_second: None });
        let limited = status(source(), RpcStatus { limit, ..rpc() });
        assert_eq!(told(&limited), [] as [&str; 0]);
        let said: Vec<String> = notices(&limited, &options).iter().map(Problem::to_string).collect();
        assert!(said.len() == 1 && said[0].starts_with("A/B is limited to 2 calls at a time"), "{said:?}");
        assert!(said[0].contains(": outbox limit --rpc A/B --clear"), "{said:?}");
        let undeliverable = Undeliverable { queue: "outbox-undeliverable".into(), messages: Count::new(2) };
        let told = told(&Status { undeliverable: Some(undeliverable), ..status(source(), rpc()) });
        assert!(
            told[0].starts_with(
                "EventBridge could not deliver 2 events, which lie in outbox-undeliverable: outbox replay"
            ),
            "{told:?}"
        );
    }
}
