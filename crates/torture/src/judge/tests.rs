use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::*;
use crate::faults::Fault;
use crate::fleet::SOURCE;
use crate::history::{Complaint, Found, Outcome, Put, Sample, Silent, Spell, Told};
use crate::how::How;
use crate::routes::{CHANGED, NOTED, OFFERED};
use crate::run::Transport;

fn id(n: u128) -> EventId {
    EventId::from(uuid::Uuid::from_u128(n))
}

fn s(seconds: u64) -> At {
    Duration::from_secs(seconds)
}

fn change(n: u128, name: &str) -> Change {
    let key = (name == CHANGED).then(|| "k".to_owned());
    let refuse = name == OFFERED;
    let seq = n as i64;
    Change { name: name.into(), key, n: seq, refuse, seq, ..Change::of(id(n), How::Keyed) }
}

fn call(n: u128, rpc: Rpc, came: u64, answer: Answer) -> Call {
    Call { event: id(n), rpc, worker: "worker-1", attempt: 1, came: s(came), answer: Some((answer, s(came))) }
}

fn put(n: u128, rpc: Rpc, seq: i64) -> Put {
    Put { event: id(n), rpc: Some(rpc), begun: seq, done: seq }
}

fn spell(fault: Fault, at: u64, until: u64) -> Spell {
    Spell { fault, whom: "worker-1".into(), at: s(at), until: s(until) }
}

/// Two changes of a key at two RPCs, a note, a refused offer, a row that no bus can carry, and a rolled-back event; all
/// without a violation.
fn sound() -> History {
    let told = |n, outcome| Told { event: id(n), outcome };
    let mut calls = vec![
        call(3, Rpc::Steady, 2, Answer::Failed),
        call(3, Rpc::Steady, 3, Answer::Success),
        call(4, Rpc::Strict, 2, Answer::Refused),
    ];
    for n in [1, 2] {
        calls.extend([Rpc::Steady, Rpc::Moody].map(|rpc| call(n, rpc, 2, Answer::Success)));
    }
    let recorded = calls.iter().filter(|call| matches!(call.answer, Some((Answer::Success, _))));
    History {
        transport: Transport::Postgres,
        told: vec![
            told(1, Outcome::Committed),
            told(2, Outcome::Unknown),
            told(6, Outcome::RolledBack),
            told(7, Outcome::Unknown),
        ],
        committed: vec![
            change(1, CHANGED),
            change(2, CHANGED),
            change(3, NOTED),
            change(4, OFFERED),
            change(5, GARBLED),
        ],
        recorded: recorded.map(|call| ((call.event, call.rpc), s(1000))).collect(),
        calls,
        unheard: HashSet::new(),
        dead: HashSet::from([(id(4), Rpc::Strict)]),
        parked: HashMap::from([(id(5), vec!["MalformedDetail".to_owned()])]),
        puts: vec![
            put(1, Rpc::Steady, 1),
            put(1, Rpc::Moody, 2),
            put(2, Rpc::Steady, 3),
            put(2, Rpc::Moody, 4),
            put(3, Rpc::Steady, 5),
            put(4, Rpc::Strict, 6),
        ],
        cursor: [(1, 10), (2, 20), (3, 20)]
            .map(|(at, last_seq)| Sample { at: s(at), last_seq, asleep: false })
            .into(),
        spells: Vec::new(),
        found: Vec::new(),
        silent: Vec::new(),
        prepared: (0, 0),
        looks: 9,
        complaints: Vec::new(),
    }
}

fn kinds(history: &History) -> Vec<&'static str> {
    judge(history).violations.iter().map(|violation| violation.kind).collect()
}

/// Guards torture: a run that kept all promises has no violation.
#[test]
fn a_sound_run_has_no_violation() {
    let verdict = judge(&sound());
    assert_eq!(verdict.violations, []);
    assert_eq!(verdict.repeats_excused, []);
    assert_eq!((verdict.events, verdict.deliveries), (5, 6));
}

/// Guards torture: the judge finds each kind of violation, and only that one.
#[test]
fn each_violation_is_found() {
    type Break = fn(&mut History);
    let cases: [(&str, Break); 28] = [
        ("called_after_record", |h| h.recorded.extend([((id(3), Rpc::Steady), s(2))])),
        ("blind", |h| h.puts.retain(|put| put.event != id(3))),
        ("blind", |h| h.cursor.clear()),
        ("blind", |h| h.looks = 0),
        ("commit_lost", |h| h.told.push(Told { event: id(7), outcome: Outcome::Committed })),
        ("rollback_kept", |h| h.told.push(Told { event: id(1), outcome: Outcome::RolledBack })),
        ("lost", |h| h.calls.retain(|call| call.event != id(3))),
        ("lost", |h| h.calls.retain(|call| (call.event, call.rpc) != (id(1), Rpc::Moody))),
        ("lost", |h| h.dead.clear()),
        ("lost", |h| h.parked.clear()),
        ("parked", |h| h.parked.extend([(id(3), vec!["x".to_owned()])])),
        ("dead_lettered", |h| h.dead.extend([(id(3), Rpc::Steady)])),
        ("succeeded_refused", |h| {
            h.calls.push(call(4, Rpc::Strict, 1, Answer::Success));
            h.recorded.insert((id(4), Rpc::Strict), s(1000));
            h.calls.retain(|call| !matches!(call.answer, Some((Answer::Refused, _))));
        }),
        ("called_unsubscribed", |h| h.calls.push(call(3, Rpc::Moody, 2, Answer::Failed))),
        ("put_uncommitted", |h| h.puts.push(put(6, Rpc::Steady, 7))),
        ("put_uncommitted", |h| h.parked.extend([(id(6), vec!["x".to_owned()])])),
        ("called_again", |h| h.calls.push(call(3, Rpc::Steady, 9, Answer::Success))),
        ("called_again", |h| h.calls.push(call(3, Rpc::Steady, 9, Answer::Failed))),
        ("order", |h| (h.puts[0].begun, h.puts[0].done) = (9, 9)),
        ("put_twice", |h| h.puts.push(put(3, Rpc::Steady, 7))),
        ("unrecorded", |h| h.recorded.retain(|one, _| *one != (id(1), Rpc::Moody))),
        ("cursor_went_back", |h| h.cursor.push(Sample { at: s(4), last_seq: 19, asleep: false })),
        ("found_by_fallback", |h| {
            h.found.push(Found {
                relay: "relay-1".into(),
                source: SOURCE,
                events: 1,
                from: s(20),
                to: s(21),
            });
        }),
        ("parked_twice", |h| drop(h.parked.insert(id(5), vec!["a".into(), "b".into()]))),
        ("parked_without_code", |h| drop(h.parked.insert(id(5), vec![String::new()]))),
        ("put_garbled", |h| h.puts.push(put(5, Rpc::Steady, 7))),
        ("not_quiet", |h| h.complaints.push(Complaint { kind: "not_quiet", what: "3 in flight".into() })),
        ("order", |h| {
            // On aws: the second put began before the first was answered.
            h.transport = Transport::Aws;
            let one = |n, begun, done| Put { event: id(n), rpc: None, begun, done };
            h.puts = vec![one(1, 1, 3), one(2, 2, 4), one(3, 5, 6), one(4, 5, 6)];
        }),
    ];
    for (kind, break_it) in cases {
        let mut history = sound();
        break_it(&mut history);
        assert_eq!(kinds(&history), [kind]);
    }
}

/// Guards torture: a rolled-back event that was put or called is a violation.
#[test]
fn a_rolled_back_event_is_found_everywhere() {
    let mut history = sound();
    history.calls.push(call(6, Rpc::Steady, 2, Answer::Failed));
    history.puts.push(put(6, Rpc::Steady, 7));
    assert_eq!(kinds(&history), ["called_uncommitted", "put_uncommitted"]);
}

/// Guards torture: only a fault between the success and the second call excuses a repeat.
#[test]
fn only_a_fault_in_the_gap_excuses_a_repeat() {
    use Fault::{PostgresCrashed, RelayKilled, WorkerCut, WorkerHalfOpen, WorkerKilled, WorkerPaused};
    // (transport, fault, when) -> excused; the RPC had succeeded at 3 s and is called again at 9 s.
    let cases = [
        (Transport::Postgres, WorkerKilled, (5, 5), true),
        (Transport::Postgres, WorkerPaused, (1, 4), true),
        (Transport::Postgres, PostgresCrashed, (8, 11), true),
        (Transport::Postgres, WorkerCut, (5, 5), true),
        (Transport::Postgres, WorkerKilled, (2, 2), false),
        (Transport::Postgres, WorkerKilled, (10, 10), false),
        (Transport::Postgres, RelayKilled, (5, 5), false),
        (Transport::Postgres, WorkerHalfOpen, (14, 15), false),
        (Transport::Aws, PostgresCrashed, (5, 6), false),
        (Transport::Aws, Fault::DynamoAway, (5, 6), true),
        (Transport::Aws, Fault::CloudSlow, (4, 5), true),
        (Transport::Aws, Fault::CloudFailsEntries, (4, 5), false),
    ];
    for (transport, fault, (at, until), excused) in cases {
        let mut history = sound();
        history.transport = transport;
        history.calls.push(call(3, Rpc::Steady, 9, Answer::Success));
        history.spells.push(spell(fault, at, until));
        let verdict = judge(&history);
        assert_eq!(verdict.repeats_excused.len(), usize::from(excused), "{fault:?} at {at}");
        assert_eq!(verdict.violations.is_empty(), excused, "{fault:?} at {at}");
    }
    let mut history = sound();
    history.spells.push(Spell { whom: "worker-2".into(), ..spell(WorkerKilled, 5, 5) });
    history.calls.push(call(3, Rpc::Steady, 9, Answer::Success));
    assert_eq!(kinds(&history), ["called_again"], "another worker's fault");
    let mut history = sound();
    history.spells.push(spell(WorkerKilled, 15, 15));
    history.calls.push(call(3, Rpc::Steady, 29, Answer::Success));
    assert_eq!(kinds(&history), ["called_again"], "it had ten seconds to record it");
    let mut history = sound();
    history.spells.push(spell(WorkerKilled, 5, 5));
    history
        .calls
        .extend([call(3, Rpc::Steady, 9, Answer::Failed), call(3, Rpc::Steady, 12, Answer::Success)]);
    assert_eq!(judge(&history).violations, [], "it failed, and so was called once more");
    history.calls.push(call(3, Rpc::Steady, 15, Answer::Success));
    assert_eq!(kinds(&history), ["called_again"], "there was no fault after 12 s");
    let mut history = sound();
    history.calls.push(Call { attempt: 2, ..call(3, Rpc::Steady, 9, Answer::Success) });
    history.unheard.insert((id(3), Rpc::Steady, 1));
    assert_eq!(judge(&history).repeats_excused.len(), 1, "its answer was not waited for");
}

/// Guards torture: a slow record excuses a repeat only after its lease can have ended, and a pause only a call right after
/// it.
#[test]
fn a_lease_that_has_not_ended_excuses_nothing() {
    let again = |worker, came| {
        let mut history = sound();
        history.calls.push(Call { worker, ..call(3, Rpc::Steady, came, Answer::Success) });
        history
    };
    let mut history = again("worker-2", 5);
    history.spells.push(spell(Fault::CloudSlow, 3, 4));
    assert_eq!(kinds(&history), ["called_again"], "two seconds after its success");

    let paused = |worker, came| {
        let mut history = again(worker, came);
        history.recorded.insert((id(3), Rpc::Steady), s(4));
        history.spells.push(Spell { whom: "worker-2".into(), ..spell(Fault::WorkerPaused, 2, 9) });
        history
    };
    assert_eq!(kinds(&paused("worker-2", 10)), [] as [&str; 0], "it was in the middle of the call");
    let mut noted_late = paused("worker-2", 9);
    noted_late.calls.last_mut().unwrap().came = s(9) - Duration::from_millis(18);
    assert_eq!(kinds(&noted_late), [] as [&str; 0], "its pause was noted to end 18 ms later");
    for (worker, came) in [("worker-2", 11), ("worker-1", 10), ("worker-2", 8)] {
        assert_eq!(
            kinds(&paused(worker, came)),
            ["called_after_record", "called_again"],
            "{worker} at {came}"
        );
    }
}

/// Guards torture: two concurrent calls that both succeed are a repeat, too.
#[test]
fn two_at_a_time_are_a_repeat() {
    let mut history = sound();
    let slow = |came, done| Call {
        answer: Some((Answer::Success, s(done))),
        ..call(3, Rpc::Steady, came, Answer::Success)
    };
    history.calls.retain(|call| call.event != id(3));
    history.calls.extend([slow(1, 4), slow(2, 3)]);
    assert_eq!(kinds(&history), ["called_again"]);
}

/// Guards torture: a crash may lose an undurable cursor, and a fault may keep a notification from the relay.
#[test]
fn crashes_and_stalls_excuse_what_they_cause() {
    let mut history = sound();
    history.cursor.push(Sample { at: s(6), last_seq: 19, asleep: false });
    history.spells.push(spell(Fault::PostgresCrashed, 4, 5));
    history.found.push(Found { relay: "relay-1".into(), source: SOURCE, events: 1, from: s(20), to: s(21) });
    history.spells.push(spell(Fault::RelayStalled, 12, 17));
    assert_eq!(kinds(&history), Vec::<&str>::new());
}

/// Guards torture: a commit without a notification excuses the poll for its own number of events, in its own database and
/// time.
#[test]
fn a_silent_commit_excuses_its_own_events() {
    let polled = |events, source, from| {
        let mut history = sound();
        history.silent.push(Silent { from: s(10), to: s(11), events: 2 });
        let found = Found { relay: "relay-1".into(), source, events, from: s(from), to: s(from + 1) };
        history.found.push(found);
        kinds(&history)
    };
    assert_eq!(polled(2, SOURCE, 12), [] as [&str; 0]);
    assert_eq!(polled(2, SOURCE, 17), [] as [&str; 0]);
    assert_eq!(polled(3, SOURCE, 12), ["found_by_fallback"], "one of them is from another commit");
    assert_eq!(polled(2, SOURCE, 18), ["found_by_fallback"], "the poll comes every five seconds");
    assert_eq!(polled(2, SOURCE, 8), ["found_by_fallback"], "before it was committed");
    assert_eq!(polled(2, "second", 12), ["found_by_fallback"], "in another database");
}

/// Guards promise 4: only a sequence that was set back between two changes of a key excuses their exchange.
#[test]
fn only_a_lower_seq_excuses_another_order() {
    let swapped = |seq_before, seq, fault| {
        let mut history = sound();
        for put in &mut history.puts {
            put.begun = if put.event == id(2) { put.begun - 10 } else { put.begun };
            put.done = put.begun;
        }
        (history.committed[1].seq_before, history.committed[1].seq) = (seq_before, seq);
        history.spells.push(spell(fault, 1, 2));
        kinds(&history)
    };
    assert_eq!(swapped(0, 2, Fault::SequencesSetBack), ["order"], "it drew a higher one");
    assert_eq!(swapped(0, 0, Fault::SequencesSetBack), [] as [&str; 0]);
    assert_eq!(swapped(9, 1, Fault::SequencesSetBack), [] as [&str; 0], "both in one statement");
    assert_eq!(swapped(0, 0, Fault::RelayKilled), ["order"], "it was not set back");
}

/// Guards torture: no fault in the database excuses a second call or a missing notification.
#[test]
fn what_others_do_in_the_database_excuses_nothing() {
    use Fault::{
        BigTransaction, LocksHeld, RetriesUnderSnapshot, SchemaLost, SequencesSetBack, SlowReader, Timeouts,
    };
    let faults =
        [BigTransaction, LocksHeld, RetriesUnderSnapshot, SchemaLost, SequencesSetBack, SlowReader, Timeouts];
    for fault in faults {
        let mut history = sound();
        history.calls.push(call(3, Rpc::Steady, 9, Answer::Success));
        let found = Found { relay: "relay-1".into(), source: SOURCE, events: 1, from: s(5), to: s(6) };
        history.found.push(found);
        history.spells.push(spell(fault, 4, 7));
        assert_eq!(kinds(&history), ["called_again", "found_by_fallback"], "{fault:?}");
    }
}

/// Guards torture: a dead leader's put may be repeated after its successor's.
#[test]
fn what_is_put_again_keeps_its_first_place() {
    let mut history = sound();
    history.transport = Transport::Aws;
    let one = |n, begun, done| Put { event: id(n), rpc: None, begun, done };
    history.puts = vec![one(1, 1, 2), one(2, 3, 4), one(1, 5, 6), one(3, 7, 8), one(4, 7, 8)];
    assert_eq!(kinds(&history), Vec::<&str>::new());
}

/// Guards torture: ten thousand violations of one kind are a count and a few examples.
#[test]
fn many_of_a_kind_are_counted() {
    let mut history = sound();
    history.committed.extend((100..150).map(|n| change(n, NOTED)));
    let verdict = judge(&history);
    assert_eq!(kinds(&history), ["lost"]);
    assert_eq!((verdict.violations[0].count, verdict.violations[0].examples.len()), (50, EXAMPLES_MAX));
}
