//! What became of a redrive or a drop.

use chrono::{DateTime, Utc};
use outbox_transport::operate::thousands;
use serde::Serialize;
use uuid::Uuid;

use crate::options::Options;
use crate::repair::{self, Halt};
use crate::safe::line;
use crate::show::counted;

/// So many refusals are shown, with so many characters of each.
const REFUSALS_MAX: usize = 5;
const REFUSAL_CHARS_MAX: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redrive { rate: u32, force: bool },
    Drop,
}

impl Kind {
    pub(super) fn verb(self, dry_run: bool) -> &'static str {
        match self {
            _ if dry_run => "counted",
            Self::Redrive { .. } => "redriven",
            Self::Drop => "dropped",
        }
    }

    /// How many a second. None of a drop, which calls no RPC.
    pub(super) fn rate(self) -> Option<u32> {
        match self {
            Self::Redrive { rate, .. } => Some(rate),
            Self::Drop => None,
        }
    }

    pub(super) fn is_undoable(self) -> bool {
        matches!(self, Self::Redrive { force: false, .. })
    }
}

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
pub(super) struct Moved {
    pub(super) dry_run: bool,
    /// Of a dry run: what died later is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dead_by: Option<DateTime<Utc>>,
    /// The id of the repair; none of a dry run.
    pub(super) repair: Option<Uuid>,
    pub(super) found: i64,
    pub(super) moved: i64,
    /// How many of those had succeeded before: the worker calls these again only with --force. Unknown if the record does not
    /// answer.
    pub(super) done_before: Option<i64>,
    /// Their RPC is being called at this moment. Their success can't be forgotten, so they stay.
    pub(super) busy: i64,
    /// Their queue refuses them and accepts others, so they stay.
    pub(super) refused: i64,
    /// The reasons of the first few, with the letters' ids.
    pub(super) refusals: Vec<String>,
    pub(super) interrupted: bool,
    /// Who stopped it, or why it stopped by itself.
    pub(super) stopped: Option<String>,
    pub(super) failed: Option<String>,
}

impl Moved {
    pub(super) fn refuse(&mut self, id: &str, why: &str) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(format!("{id}: {why}"));
        }
    }

    pub(super) fn count_done(&mut self, many: usize) {
        self.done_before = self.done_before.map(|done| done + many as i64);
    }

    pub(super) fn halt(&mut self, halt: Halt) {
        match halt {
            Halt::Interrupted => self.interrupted = true,
            Halt::Stopped(why) => self.stopped = Some(why),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let halted = self.interrupted || self.stopped.is_some() || self.failed.is_some();
        !halted && self.busy == 0 && self.refused == 0
    }

    pub(super) fn text(&self, kind: Kind, options: &Options) -> String {
        let moved = self;
        let letters = |count: i64| counted(thousands(count), "dead letter");
        let mut lines = vec![match (moved.dry_run, kind) {
            (true, Kind::Redrive { .. }) => format!("would redrive {}", letters(moved.found)),
            (true, Kind::Drop) => format!("would drop {}", letters(moved.found)),
            (false, _) => format!("{} {}", kind.verb(false), letters(moved.moved)),
        }];
        let force = matches!(kind, Kind::Redrive { force: true, .. });
        lines.extend(repair::done_before(moved.done_before, force, ""));
        if moved.busy > 0 {
            lines.push(format!(
                "  {} stay: their RPC is being called at this moment; run it again",
                thousands(moved.busy)
            ));
        }
        if moved.refused > 0 {
            lines.push(format!("  {} stay, for their queue refuses them:", thousands(moved.refused)));
            lines.extend(moved.refusals.iter().map(|why| format!("    {}", line(why, REFUSAL_CHARS_MAX))));
        }
        let goes_on = self.repair.map(|id| options.command(["repair", "continue", &id.to_string()]));
        let goes_on = goes_on.unwrap_or_else(|| "the same command".to_owned());
        if moved.interrupted {
            lines.push(format!("interrupted: the rest is where it was; to go on: {goes_on}"));
        }
        if let Some(why) = &moved.stopped {
            lines.push(format!("stopped {why}: the rest is where it was; to go on: {goes_on}"));
        }
        if let Some(failed) = &moved.failed {
            lines.push(format!("then it failed: {failed}; the rest is where it was; to go on: {goes_on}"));
        }
        lines.join("\n")
    }
}
