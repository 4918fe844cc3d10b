use outbox_runtime::RELOAD;
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
    let unaddressed = |name: &str| {
        let rpc = RpcReport { rpc: "A/B".into(), unaddressed: Some("A".into()), ..RpcReport::default() };
        worker(name, 1.0, Report { rpcs: vec![rpc], ..Report::default() })
    };
    let cases: [(Vec<Seen>, usize, &[&str]); 11] = [
        (
            vec![unaddressed("w1")],
            0,
            &["no worker has an address for A: add it to services.yaml or pass --endpoint"],
        ),
        (vec![unaddressed("w1"), well()], 1, &[]),
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

/// Guards promise 8: an RPC stands still while none of its workers makes progress for it. A file that was refused halts nothing.
#[test]
fn an_rpc_stands_still_with_all_of_its_workers() {
    let worker = |part, seconds| seen(Program::Worker, "w1", 1.0, waiting(part, seconds));
    let well = || seen(Program::Worker, "w2", 1.0, serving(Breaker::Closed, 1, 0.01));
    for (all, stands_still) in [
        (vec![worker("cards A/B", Some(9.0))], true),
        (vec![worker("cards A/B", None)], true),
        (vec![worker("cards A/B records", Some(9.0))], true),
        (vec![worker("cards A/B", Some(9.0)), worker("cards A/B", Some(9.0))], true),
        (vec![worker("cards A/B", Some(9.0)), well()], false),
        (vec![worker("cards A/B", Some(2.0))], false),
        (vec![worker("cards A/BC", Some(9.0))], false),
        (vec![worker(RELOAD, None)], false),
        (vec![well()], false),
        (vec![], false),
    ] {
        let serving = Running(all).workers("cards", "A/B");
        assert_eq!(serving.stands_still, stands_still, "{serving:?}");
    }
    let causes = Running(vec![worker(RELOAD, None)]).workers("cards", "A/B").causes();
    assert!(causes.is_empty(), "{causes:?}");
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
    let silent: Vec<_> = running.silent().iter().map(|(_, program, seen)| (*program, seen.len())).collect();
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
