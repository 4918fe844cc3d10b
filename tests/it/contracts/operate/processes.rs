//! The reports of processes, written and read.

use chrono::Utc;
use outbox_event_router::Router;
use outbox_transport::operate::Processes;
use outbox_transport::process::{
    Breaker, Duty, FiveMinutes, LastError, Minute, Process, Program, Report, RpcReport, Seen, Store, Waits,
};

use super::Subject;

/// A worker that reports everything, with texts from others.
fn worker(name: &str) -> Process {
    let router = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }, { id: Test/Other }]\n";
    let router = Router::parse("test.yaml", router).unwrap_or_else(|findings| panic!("{findings}"));
    let awkward = "'; drop table outbox.process; -- \u{1b}[31m \u{202e}\u{1f600}\u{0}\n";
    let error = LastError { code: "unavailable".to_owned(), text: awkward.to_owned(), at: Utc::now() };
    let rpc = RpcReport {
        rpc: "Test/One".to_owned(),
        breaker: Breaker::Away,
        breaker_since: Some(Utc::now()),
        held: Some(awkward.to_owned()),
        paused: true,
        limited: true,
        last_error: Some(error),
        calls: 3,
        failed_in_row: 6,
        succeeded_at: None,
        fails_often: None,
        calls_max: 16,
        minute: Minute { ended: 7, mean_seconds: 0.25, longest_seconds: 1.5 },
        five_minutes: Some(FiveMinutes {
            codes: [("ok".to_owned(), 9), ("unavailable".to_owned(), 2)].into(),
            took: vec![(Some(0.0025), 9), (None, 2)],
            leave_per_second: Some(0.03),
            grows_per_second: Some(-1.5),
        }),
        duty: Duty::Help,
        oldest_at: Some(Utc::now()),
        set_aside: [("AccessDenied".to_owned(), 2)].into(),
        unaddressed: None,
    };
    let quiet = RpcReport { rpc: "Test/Other".to_owned(), calls_max: 1, ..RpcReport::default() };
    let waits = Waits { part: "cards".to_owned(), reason: awkward.to_owned(), seconds: Some(4.5) };
    let process = Process::new(Program::Worker, name, "0.1.0", Some("http://127.0.0.1:9465".to_owned()));
    let report = Report { waits: vec![waits], rpcs: vec![rpc, quiet], ..Report::default() };
    Process { report, ..process.routed_by(&router) }
}

async fn seen<S: Subject>(subject: &S) -> Vec<Seen> {
    subject.operator().await.processes().await.unwrap()
}

/// Times are kept to the microsecond, or to the millisecond.
fn without_start(process: &Process) -> Process {
    let mut process = process.clone();
    process.started_at = chrono::DateTime::UNIX_EPOCH.into();
    process
}

/// Guards promise 8: a process's report is read as it was written, whatever text it has, and soon after a change.
/// A process that stops is gone, and the others stay.
pub(super) async fn a_process_is_read_as_it_was_written<S: Subject>(subject: &S) {
    assert!(seen(subject).await.is_empty());
    let (mut one, mut other) = (subject.store("vm:1:aaaaaa"), subject.store("vm:2:bbbbbb"));
    let (first, second) = (worker("vm:1:aaaaaa"), worker("vm:2:bbbbbb"));
    other.write(&second).await.unwrap();
    one.write(&first).await.unwrap();
    let all = seen(subject).await;
    let processes: Vec<Process> = all.iter().map(|seen| without_start(&seen.process)).collect();
    assert_eq!(processes, [without_start(&first), without_start(&second)]);
    for seen in &all {
        assert!(!seen.is_silent() && seen.seen_seconds_ago < seen.silent_after_seconds, "{seen:?}");
        let late = (seen.process.started_at.known().unwrap() - Utc::now()).num_seconds().abs();
        assert!(late < 60, "{seen:?}");
        assert!(seen.process.serves("Test/One") && !seen.process.serves("Test/Stranger"));
    }

    let mut changed = first.clone();
    changed.report.rpcs[0].breaker = Breaker::Closed;
    changed.report.ready = true;
    one.write(&changed).await.unwrap();
    let read = seen(subject).await;
    assert_eq!(read[0].process.report, changed.report);
    assert_eq!(read.len(), 2, "it is the same process");

    other.remove().await.unwrap();
    let left: Vec<String> = seen(subject).await.into_iter().map(|seen| seen.process.name).collect();
    assert_eq!(left, ["vm:1:aaaaaa"]);
    one.remove().await.unwrap();
    assert!(seen(subject).await.is_empty());
}

/// Guards promise 6: a store that can't be written answers with the reason, and accepts the next write.
pub(super) async fn a_failed_write_has_its_reason<S: Subject>(subject: &S) {
    let reason = subject.store_that_fails().write(&worker("vm:1:aaaaaa")).await.unwrap_err();
    assert!(!reason.is_empty());
    assert!(seen(subject).await.is_empty());
}
