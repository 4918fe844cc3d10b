//! The processes in `outbox status`: their table, and what is wrong with them. Pure.

use outbox_runtime::RELOAD;
use outbox_transport::operate::SQS;
use outbox_transport::process::Seen;

use super::answer::{Problem, ProcessStatus};
use crate::colour::Colour;
use crate::running::{Differing, Halted, Running, differing, halted, listed};
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, age, counted, name_or, or_dash, table};

const REASON_CHARS_MAX: usize = 400;
const DIGEST_CHARS: usize = 8;

/// Each with its state in one word.
pub(super) fn with_states(running: &Running) -> Vec<ProcessStatus> {
    running.0.iter().map(|seen| ProcessStatus { state: state(seen), seen: seen.clone() }).collect()
}

pub(super) fn problems(running: &Running) -> Vec<Problem> {
    let silent = running.silent();
    let silent = silent.iter().map(|(source, program, seen)| of_silent(source, program.as_str(), seen));
    let halted = halted(&running.0);
    let differing = differing(&running.0);
    silent.chain(halted.iter().map(of_halted)).chain(differing.iter().map(of_differing)).collect()
}

fn of_silent(source: &str, program: &str, seen: &[&Seen]) -> Problem {
    let each: Vec<String> = seen
        .iter()
        .map(|seen| {
            format!("{} for {}", line(&seen.process.name, NAME_CHARS_MAX), age(seen.seen_seconds_ago))
        })
        .collect();
    let is = if seen.len() == 1 { "is" } else { "are" };
    let addresses: Vec<String> = seen.iter().filter_map(|seen| seen.process.address.clone()).collect();
    let addresses =
        if addresses.is_empty() { String::new() } else { format!(", and /readyz at {}", listed(&addresses)) };
    // On Postgres the other processes remove it, and the database has the only clock.
    let (clock, by) = match source == SQS {
        true => (", wrong clock", ""),
        false => ("", " if another one runs"),
    };
    Problem::remedy(
        format!("{} of {source} {is} silent: {}", counted(seen.len(), program), listed(&each)),
        &format!(
            "killed, hanging, or unable to write here (no connection, wrong password, no space{clock}): see the log{addresses}; a killed process is removed within 20 minutes{by}"
        ),
    )
}

fn of_halted(halted: &Halted) -> Problem {
    let makes = if halted.names.len() == 1 { "makes" } else { "make" };
    let time = halted.seconds.map(|seconds| format!(" for {}", age(seconds))).unwrap_or_default();
    let addresses = match halted.addresses.is_empty() {
        true => String::new(),
        false => format!(", and /readyz at {}", listed(&halted.addresses)),
    };
    if halted.parts == [RELOAD] {
        let keeps = if halted.names.len() == 1 { "keeps" } else { "keep" };
        return Problem::remedy(
            format!(
                "{} of {} {keeps} the former routes: {}",
                counted(halted.names.len(), halted.program.as_str()),
                halted.source,
                line(&halted.reason, REASON_CHARS_MAX)
            ),
            &format!("correct the file, and send SIGHUP to {} again", listed(&halted.names)),
        );
    }
    Problem::remedy(
        format!(
            "{} of {} {makes} no progress{time} in {}: {}",
            counted(halted.names.len(), halted.program.as_str()),
            halted.source,
            listed(&halted.parts),
            line(&halted.reason, REASON_CHARS_MAX)
        ),
        &format!("see the log of {}{addresses}", listed(&halted.names)),
    )
}

fn of_differing(one: &Differing) -> Problem {
    let has = if one.processes.len() == 1 { "has" } else { "have" };
    let others =
        if one.others == 1 { "another process".to_owned() } else { format!("{} others", one.others) };
    Problem::remedy(
        format!(
            "{} of {} {has} the routes {}, and {} the routes {}: the former {}",
            listed(&one.processes),
            one.source,
            line(&one.digest, DIGEST_CHARS),
            others,
            line(&one.usual, DIGEST_CHARS),
            listed(&one.differences)
        ),
        "give all the same event_router.yaml: first the workers, then every relay",
    )
}

/// `None` if no process has written.
pub(super) fn text(running: &Running, several: bool) -> Option<String> {
    let source = if several { "SOURCE" } else { "" };
    let mut rows = table(["PROCESS", "NAME", "VERSION", "ROUTES", "STATE", "SEEN", "ADDRESS", source]);
    for seen in &running.0 {
        let process = &seen.process;
        let revision = process.revision.as_ref().map(|revision| format!(" {revision}")).unwrap_or_default();
        let router = process.router.as_deref().map(|router| line(router, NAME_CHARS_MAX));
        let address = process.address.as_deref().map(|address| address.trim_start_matches("http://"));
        let none = |text: String| (text, None);
        rows.add_coloured([
            none(process.program.as_str().to_owned()),
            none(line(&process.name, NAME_CHARS_MAX)),
            none(line(&format!("{}{revision}", process.version), NAME_CHARS_MAX)),
            none(or_dash(router.map(|router| router.chars().take(DIGEST_CHARS).collect::<String>()))),
            (state(seen).to_owned(), colour(seen)),
            none(format!("{} ago", age(seen.seen_seconds_ago))),
            none(name_or(address, "-")),
            none(if several { seen.source.clone() } else { String::new() }),
        ]);
    }
    (!running.0.is_empty()).then(|| rows.trim_fmt())
}

fn colour(seen: &Seen) -> Option<Colour> {
    let is_ready = !seen.is_silent() && seen.process.report.ready && !seen.process.report.not_readable;
    match (is_ready, seen.process.report.waits.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Colour::Warning),
        (false, _) => Some(Colour::Problem),
    }
}

fn state(seen: &Seen) -> &'static str {
    let report = &seen.process.report;
    let waits_for_nothing = report.waits.iter().all(|waits| waits.part == RELOAD);
    match (seen.is_silent(), report.ready, waits_for_nothing) {
        (true, ..) => "silent",
        _ if report.not_readable => "report not readable",
        (false, true, true) => "ready",
        (false, true, false) => "waits",
        (false, false, _) => "not ready",
    }
}

#[cfg(test)]
mod tests {
    use outbox_event_router::Router;
    use outbox_transport::process::{Breaker, Program, Report, Waits};

    use super::*;
    use crate::running::tests::{seen, serving};

    fn halts(reason: &str) -> Report {
        let waits = Waits { part: "cards A/B".into(), reason: reason.into(), seconds: Some(30.0) };
        Report { waits: vec![waits], ..Report::default() }
    }

    fn routed(name: &str, rpcs: &str) -> Seen {
        let yaml = format!("event:\n  - name: event_one\n    subscriber: [{rpcs}]\n");
        let router = Router::parse("test.yaml", &yaml).unwrap_or_else(|findings| panic!("{findings}"));
        let mut seen = seen(Program::Relay, name, 1.0, Report { ready: true, ..Report::default() });
        seen.process = seen.process.routed_by(&router);
        seen
    }

    /// Guards promise 8: a silent process, one that makes no progress, and one with other routes are problems. A busy one and
    /// one that is ready are not.
    #[test]
    fn each_problem_of_a_process_has_its_line() {
        let well = || seen(Program::Worker, "w1", 1.0, serving(Breaker::Closed, 3, 0.1));
        let worker = |name: &str, ago, report| seen(Program::Worker, name, ago, report);
        let refused = Waits { part: RELOAD.into(), reason: "a file was refused".into(), seconds: None };
        let refused = Report { ready: true, waits: vec![refused], ..Report::default() };
        let cases: [(Vec<Seen>, &[&str]); 7] = [
            (
                vec![worker("w1", 0.0, refused)],
                &[
                    "1 worker of cards keeps the former routes: a file was refused: correct the file, and send SIGHUP to w1",
                ],
            ),
            (vec![], &[]),
            (vec![well(), routed("r1", "{ id: A/B }"), routed("r2", "{ id: A/B }")], &[]),
            (
                vec![well(), worker("w2", 14.0, Report::default())],
                &["1 worker of cards is silent: w2 for 14s: killed"],
            ),
            (
                vec![
                    seen(Program::Relay, "r1", 14.0, Report::default()),
                    seen(Program::Relay, "r2", 20.0, Report::default()),
                ],
                &["2 relays of cards are silent: r1 for 14s, r2 for 20s: killed"],
            ),
            (
                vec![
                    worker("w1", 0.0, halts("No space\u{1b}[2J left")),
                    worker("w2", 0.0, halts("No space\u{1b}[2J left")),
                ],
                &[
                    "2 workers of cards make no progress for 30s in cards A/B: No space\\u{1b}[2J left: see the log of w1, w2",
                ],
            ),
            (
                vec![
                    routed("r1", "{ id: A/B }, { id: A/C }"),
                    routed("r2", "{ id: A/B }, { id: A/C }"),
                    routed("r3", "{ id: A/B }"),
                ],
                &["relay r3 of cards has the routes "],
            ),
        ];
        for (all, expected) in cases {
            let told: Vec<String> = problems(&Running(all)).iter().map(Problem::to_string).collect();
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(expected), "{told} is not {expected}");
            }
        }
    }

    /// Guards promise 8: a process that was killed is removed by others on Postgres, and by itself on AWS.
    #[test]
    fn the_end_of_a_killed_process_is_true() {
        let killed = seen(Program::Worker, "w1", 40.0, Report::default());
        let on_sqs = Seen { source: SQS.to_owned(), ..killed.clone() };
        for (killed, end) in
            [(killed, "removed within 20 minutes if another one runs"), (on_sqs, "removed within 20 minutes")]
        {
            let told = problems(&Running(vec![killed]))[0].to_string();
            assert!(told.ends_with(end), "{told}");
        }
    }

    /// Guards promise 8: a difference of routes names the route.
    #[test]
    fn a_difference_names_the_route() {
        let all = vec![
            routed("r1", "{ id: A/B }, { id: A/C }"),
            routed("r2", "{ id: A/B }, { id: A/C }"),
            routed("r3", "{ id: A/B }"),
        ];
        let told = problems(&Running(all))[0].to_string();
        assert!(told.contains("and 2 others the routes") && told.contains("lacks A/C (event_one)"), "{told}");
    }

    /// Guards promise 8: a report that can't be read is a state, and no problem: during a deployment another version may write.
    #[test]
    fn a_report_of_another_version_is_a_state() {
        let running = Running(vec![seen(Program::Worker, "w1", 1.0, Report::read("odd"))]);
        assert!(problems(&running).is_empty());
        assert!(text(&running, false).unwrap().contains("report not readable"));
    }

    /// Guards promise 8: each process has its row, and a table without rows is not shown.
    #[test]
    fn each_process_has_its_row() {
        assert_eq!(text(&Running::default(), false), None);
        let all = vec![
            seen(Program::Worker, "w1", 1.0, serving(Breaker::Closed, 3, 0.1)),
            seen(Program::Worker, "w2", 30.0, halts("x")),
        ];
        let told = text(&Running(all), false).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[1].contains("w1") && lines[1].contains("ready") && lines[1].contains("vm:9465"),
            "{told}"
        );
        assert!(lines[2].contains("silent") && lines[2].contains("30s ago"), "{told}");
    }
}
