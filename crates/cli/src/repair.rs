//! Repairs: an irreversible one asks first, and each is recorded.

mod pacing; // whether one goes on, and how fast
mod rule; // when a repair stops by itself
mod running; // one that others see and may stop
mod words; // of a command, and of an installation

use std::io::{IsTerminal, Write};

use chrono::Utc;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{Audit, Deliveries, Repair, thousands, without_values};
use serde::Serialize;

use crate::asked::Asked;
use crate::options::Options;
use crate::stopped::Stopped;
pub(crate) use rule::{Halt, Rule, RuleArgs};
pub(crate) use running::{Beside, Running, continued, end_silent, moved_before};
#[cfg(feature = "console")]
pub(crate) use words::place;
pub(crate) use words::{again, limited, plan};

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Consent {
    /// Don't ask first. Without a terminal, commands that would ask need this.
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Consent {
    pub(crate) fn is_given(self) -> bool {
        self.yes
    }

    /// Before what can't be undone.
    pub(crate) fn ask(self, what: &str) -> Result<(), Stopped> {
        if self.yes {
            crate::terminal::say(what);
            return Ok(());
        }
        self.confirm(&format!("{what}: that can't be undone"))
    }

    pub(crate) fn confirm(self, what: &str) -> Result<(), Stopped> {
        if self.yes {
            return Ok(());
        }
        let mut terminal = std::io::stderr();
        if !std::io::stdin().is_terminal() || !terminal.is_terminal() {
            return Err(Stopped::unusable(what, "pass --yes if it is meant"));
        }
        let _ = write!(terminal, "{what}. Go on? [y/N] ");
        let _ = terminal.flush();
        let mut said = String::new();
        let heard = std::io::stdin().read_line(&mut said);
        match said.trim() {
            "y" | "Y" | "yes" if heard.is_ok() => Ok(()),
            _ => Err(Stopped::failed("nothing was done", "the answer was not yes")),
        }
    }
}

/// The audit keeps the words of a command, and so this.
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// Why, for the audit.
    #[arg(long = "why", value_name = "TEXT")]
    _why: Option<String>,
}

/// What a repair of many things takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = None::<&'static str>)]
pub(crate) struct RepairArgs {
    /// All of them.
    #[arg(long)]
    all: bool,

    /// Only print how many.
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    why: WhyArgs,

    #[command(flatten)]
    pub(crate) consent: Consent,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl RepairArgs {
    /// A repair needs a filter, or the flag for all.
    pub(crate) fn some<F: Default + PartialEq>(
        &self,
        filter: F,
        command: &str,
        filters: &str,
    ) -> Result<F, Stopped> {
        match (filter == F::default(), self.all) {
            (true, false) => Err(Stopped::unusable(
                format!("`outbox {command}` needs a filter"),
                format!("pass {filters} (every given condition must hold), or --all; --dry-run counts"),
            )),
            (false, true) => {
                Err(Stopped::unusable("--all and a filter contradict each other", "leave one out"))
            }
            _ => Ok(filter),
        }
    }
}

/// Which of these pairs were done before. It is only information, so an error must not stop a repair: it makes the `count` of
/// them unknown.
pub(crate) async fn done(
    transport: &impl Deliveries,
    pairs: &[(EventId, Rpc)],
    count: &mut Option<i64>,
) -> Vec<bool> {
    transport.done(pairs).await.unwrap_or_else(|_| {
        *count = None;
        vec![false; pairs.len()]
    })
}

/// How many of them were done before, and whether their RPC runs again; `hint` says how it would.
pub(crate) fn done_before(count: Option<i64>, force: bool, hint: &str) -> Option<String> {
    let Some(count) = count else {
        return Some(
            "  how many of them had been done before is not known: the record can't be asked".to_owned(),
        );
    };
    let done = thousands(count);
    match force {
        _ if count == 0 => None,
        true => Some(format!("  {done} of them had been done: their RPC runs again")),
        false => Some(format!(
            "  {done} of them had been done before: the worker finds that in its record, and does not call again{hint}"
        )),
    }
}

/// Begins a repair, which is recorded before any change. An irreversible repair fails if it can't be recorded. So does any
/// repair in a database, whose functions require the record.
pub(crate) async fn begin(
    asked: &Asked,
    transports: &[impl Audit],
    undoable: bool,
) -> Result<Repair, Stopped> {
    let repair = new(asked);
    for transport in transports {
        transport.begin(&repair, undoable).await?;
    }
    Ok(repair)
}

pub(crate) fn new(asked: &Asked) -> Repair {
    Repair {
        id: EventId::new().as_uuid(),
        at: Utc::now(),
        who: who(asked),
        command: command(asked.words().into_iter()),
        result: None,
    }
}

/// The repair is done by now, even if this fails.
pub(crate) async fn end(mut repair: Repair, transports: &[impl Audit], result: &impl Serialize) {
    repair.result = serde_json::to_string(result).ok();
    for transport in transports {
        if let Err(error) = transport.end(&repair).await {
            crate::terminal::say(&format!("warning: the outcome is not in the audit: {}", error.problem));
        }
    }
}

pub(crate) fn who(asked: &Asked) -> String {
    if let Some(who) = asked.who() {
        return who.to_owned();
    }
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = |text: &str| match text.trim() {
        "" => "unknown".to_owned(),
        text => text.chars().take(100).collect(),
    };
    format!("{}@{}", name(&user), name(&host))
}

/// Hides addresses, which may hold a password, and values of headers.
fn command(args: impl Iterator<Item = String>) -> String {
    let mut words = vec!["outbox".to_owned()];
    let mut hide = false;
    for word in without_values(args) {
        if std::mem::take(&mut hide) {
            words.push("…".to_owned());
            continue;
        }
        match word.split_once('=').map_or(word.as_str(), |(flag, _)| flag) {
            flag @ ("--database-url" | "--source") => {
                hide = flag == word;
                words.push(if hide { word } else { format!("{flag}=…") });
            }
            _ => words.push(quoted(&word)),
        }
    }
    words.join(" ")
}

/// The sign for what is hidden needs no quotes.
fn quoted(word: &str) -> String {
    match word.strip_suffix('…') {
        Some(shown) if shown.is_empty() || crate::safe::word(shown) == shown => word.to_owned(),
        _ => crate::safe::word(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a recorded command can be pasted, and has no address in it.
    #[test]
    fn no_address_is_kept() {
        let kept = |text: &str| command(text.split(' ').map(str::to_owned));
        assert_eq!(kept("dlq drop --all --yes"), "outbox dlq drop --all --yes");
        let secret = "postgres://u:secret@h/d";
        for given in [format!("--database-url {secret}"), format!("--source cards={secret}")] {
            let kept = kept(&format!("dlq {given} drop --rpc A/B"));
            assert!(!kept.contains("secret") && kept.ends_with("drop --rpc A/B"), "{kept}");
        }
        for (given, expected) in [
            ("--header tenant=secret --yes", "--header tenant=… --yes"),
            ("--header=tenant=secret --yes", "--header=tenant=… --yes"),
            ("--header=tenant=a=secret --header b=secret", "--header=tenant=… --header b=…"),
            ("--header secret --rpc A/B", "--header … --rpc A/B"),
            ("--header=secret", "--header=…"),
            ("--header --yes", "--header …"),
        ] {
            assert_eq!(kept(&format!("dlq redrive {given}")), format!("outbox dlq redrive {expected}"));
        }
        let joined = kept(&format!("dlq --database-url={secret} drop"));
        assert_eq!(joined, "outbox dlq --database-url=… drop");
    }
}
