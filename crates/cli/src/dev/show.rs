//! The output of `outbox dev`: one line per event and RPC, and a line for each change. Payloads are only shown if asked for.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

use chrono::Local;
use outbox_runtime::Guarded;
use outbox_transport::{Again, Outcome};
use outbox_worker::rpc::Call;

use crate::safe::{self, line};
use crate::terminal;

const NAME_CHARS_MAX: usize = 200;
const REASON_CHARS_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Show {
    colour: bool,
    payloads: bool,
    /// Services that were not there when they were called last.
    absent: Guarded<BTreeSet<String>>,
}

/// How a line is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Bad,
    Plain,
}

impl Show {
    pub(super) fn new(payloads: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, payloads, absent: Guarded::new(BTreeSet::new()) }
    }

    /// A line about something other than an event.
    pub(super) fn note(&self, text: &str) {
        self.print(Tone::Plain, &format!("· {text}"));
    }

    /// Findings of `outbox check`, or another problem.
    pub(super) fn problem(&self, text: &str) {
        self.print(Tone::Bad, text);
    }

    /// The result of a call of a service, which may have an address.
    pub(super) fn called(
        &self,
        call: &Call<'_>,
        outcome: &Outcome,
        took: Duration,
        (service, url): (&str, Option<&str>),
    ) {
        if matches!(outcome, Outcome::Retry { again: Again::Postponed, .. }) {
            if self.absent.lock().insert(service.to_owned()) {
                self.note(&absent(service, url));
            }
            return;
        }
        if self.absent.lock().remove(service) {
            self.note(&format!("{service} is running"));
        }
        let at = Local::now().format("%H:%M:%S%.3f");
        let (tone, result) = result(outcome, call.attempt);
        let event = event(&call.event.name, call.event.key.as_deref());
        let milliseconds = took.as_secs_f64() * 1000.0;
        self.print(tone, &format!("{at} {event} → {} {result} ({milliseconds:.1} ms)", call.rpc));
        if self.payloads {
            self.print(Tone::Plain, &format!("    {}", line(call.event.payload.get(), usize::MAX)));
        }
    }

    /// A closed pipe does not end the command.
    fn print(&self, tone: Tone, text: &str) {
        let text = safe::text(text);
        let colour = match tone {
            Tone::Good if self.colour => "\x1b[32m",
            Tone::Bad if self.colour => "\x1b[31m",
            Tone::Good | Tone::Bad | Tone::Plain => "",
        };
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        let _ = terminal::write(&format!("{colour}{text}{end}"));
    }
}

fn event(name: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!(" {}", line(key, NAME_CHARS_MAX))).unwrap_or_default();
    format!("{}{key}", line(name, NAME_CHARS_MAX))
}

fn absent(service: &str, url: Option<&str>) -> String {
    match url {
        Some(url) => format!("{service} is not running at {url}: its events wait"),
        None => format!("{service} has no address: its events wait (--to {service}=http://localhost:PORT)"),
    }
}

fn result(outcome: &Outcome, attempt: u32) -> (Tone, String) {
    let reason = |code: &str, text: &str| line(&format!("{code}: {text}"), REASON_CHARS_MAX);
    match outcome {
        Outcome::Done | Outcome::Duplicate if attempt > 1 => (Tone::Good, format!("✓ at attempt {attempt}")),
        Outcome::Done | Outcome::Duplicate => (Tone::Good, "✓".to_owned()),
        Outcome::Retry { again: Again::Held, code, error, .. } => {
            (Tone::Bad, format!("✗ held: {}", reason(code, error)))
        }
        Outcome::Retry { code, error, .. } => {
            (Tone::Bad, format!("✗ attempt {attempt}, is repeated: {}", reason(code, error)))
        }
        Outcome::Dead { code, reason: text } | Outcome::SetAside { code, reason: text } => {
            (Tone::Bad, format!("✗ dead letter (outbox dlq list): {}", reason(code, text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: each result of a call is one line, and a server's text can't begin another one.
    #[test]
    fn each_result_is_one_line() {
        let retry = |again| Outcome::retry(again, Duration::ZERO, "internal", "no\nluck");
        let dead = Outcome::Dead { code: "invalid_argument", reason: "no card".into() };
        for (outcome, attempt, expected) in [
            (Outcome::Done, 1, (Tone::Good, "✓")),
            (Outcome::Done, 3, (Tone::Good, "✓ at attempt 3")),
            (retry(Again::Failed), 2, (Tone::Bad, "✗ attempt 2, is repeated: internal: no luck")),
            (retry(Again::Held), 2, (Tone::Bad, "✗ held: internal: no luck")),
            (dead, 1, (Tone::Bad, "✗ dead letter (outbox dlq list): invalid_argument: no card")),
        ] {
            let (tone, text) = result(&outcome, attempt);
            assert_eq!((tone, text.as_str()), expected);
        }
        assert_eq!(event("event_card_issued", Some("1\n2")), "event_card_issued 1 2");
        assert_eq!(event("event_card_issued", None), "event_card_issued");
    }

    /// Guards: a service that does not run, and one without an address, have different remedies.
    #[test]
    fn an_absent_service_is_named_with_its_remedy() {
        assert_eq!(
            absent("NotifyService", Some("http://localhost:8080")),
            "NotifyService is not running at http://localhost:8080: its events wait"
        );
        assert!(absent("NotifyService", None).contains("--to NotifyService=http://"));
    }
}
