use super::*;
use clap::Parser;
use outbox_postgres::operate::{Behind, Holder, Leader};
use outbox_transport::Brake;
use outbox_transport::operate::Count;
use outbox_transport::operate::{Depth, SetAside};
use outbox_transport::process::{FailsOften, LastError};

use crate::running::Serving;
use crate::status::forecast::Forecast;

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
        forecast: Forecast::default(),
        routed: Some(true),
        console_url: None,
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
        differing: Vec::new(),
        undeliverable: None,
        problems: Vec::new(),
        notices: Vec::new(),
        console: None,
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
