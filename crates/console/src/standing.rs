//! In which state an RPC is, in one word. Pure.

use crate::answers::{Rpc, Status};
use crate::parts::Tone;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) tone: Tone,
    pub(crate) shape: &'static str,
    pub(crate) word: &'static str,
}

impl Standing {
    /// The first that holds: what an operator did, then what keeps all calls away, then what is left behind.
    pub(crate) fn of(rpc: &Rpc, status: &Status) -> Self {
        let serving = &rpc.serving;
        let breaker = rpc.breaker.as_deref();
        let (tone, shape, word) = if rpc.pause.is_some() {
            (Tone::Warning, "‖", "paused")
        } else if rpc.missing.is_some() {
            (Tone::Bad, "○", "has no queue")
        } else if serving.workers == 0 {
            (Tone::Bad, "○", "no worker reports it")
        } else if status.stands_still(rpc) {
            (Tone::Bad, "■", "stands still")
        } else if breaker == Some("held") {
            (Tone::Bad, "▲", "held")
        } else if breaker == Some("open") {
            (Tone::Bad, "▲", "breaker open")
        } else if rpc.dead.is_some_and(|dead| dead > 0) {
            (Tone::Bad, "✖", "has dead letters")
        } else if serving.calls_max > 0 && serving.calls >= serving.calls_max {
            (Tone::Warning, "◐", "full")
        } else if breaker == Some("half_open") {
            (Tone::Warning, "△", "tries again")
        } else if rpc.limit.is_some() {
            (Tone::Warning, "◐", "limited")
        } else {
            (Tone::Good, "●", "well")
        };
        Self { tone, shape, word }
    }
}

/// What a worker says of its breaker, in the words above.
pub(crate) fn breaker(said: &str) -> &str {
    match said {
        // Its server does not answer, or different events fail in a row.
        "away" | "doubted" => "open",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Process, Serving, Waits};

    /// Guards promise 8: the state that explains the others is the one that is shown.
    #[test]
    fn the_first_cause_is_shown() {
        let serving = |workers, calls| Serving { workers, calls, calls_max: 4, ..Serving::default() };
        let well = Rpc { serving: serving(1, 0), dead: Some(0), ..Rpc::default() };
        let text = |text: &str| Some(text.to_owned());
        for (rpc, word) in [
            (well.clone(), "well"),
            (Rpc { serving: serving(0, 0), ..well.clone() }, "no worker reports it"),
            (Rpc { serving: serving(1, 4), ..well.clone() }, "full"),
            (Rpc { dead: Some(3), serving: serving(1, 4), ..well.clone() }, "has dead letters"),
            (Rpc { breaker: text("open"), dead: Some(3), ..well.clone() }, "breaker open"),
            (Rpc { breaker: text("held"), ..well.clone() }, "held"),
            (Rpc { breaker: text("half_open"), ..well.clone() }, "tries again"),
            (Rpc { missing: text("no queue"), ..well.clone() }, "has no queue"),
            (
                Rpc { pause: Some(crate::answers::Brake::default()), missing: text("x"), ..well.clone() },
                "paused",
            ),
            (Rpc { dead: None, ..well }, "well"),
        ] {
            assert_eq!(Standing::of(&rpc, &Status::default()).word, word, "{rpc:?}");
        }
    }

    /// Guards promise 8: an RPC whose workers all make no progress for it is not well.
    #[test]
    fn workers_without_progress_are_shown() {
        let rpc = Rpc {
            source: "cards".to_owned(),
            rpc: "A/B".to_owned(),
            serving: Serving { workers: 1, ..Serving::default() },
            ..Rpc::default()
        };
        assert_eq!(["away", "doubted", "held", "closed"].map(breaker), ["open", "open", "held", "closed"]);
        for (part, seconds, word) in [
            ("cards A/B", Some(9.0), "stands still"),
            ("cards A/B", None, "stands still"),
            ("cards A/B", Some(2.0), "well"),
            ("cards A/BC", Some(9.0), "well"),
        ] {
            let waits = Waits { part: part.to_owned(), seconds, ..Waits::default() };
            let worker = Process {
                source: "cards".to_owned(),
                program: "worker".to_owned(),
                waits: vec![waits],
                ..Process::default()
            };
            let status = Status { processes: vec![worker], ..Status::default() };
            assert_eq!(Standing::of(&rpc, &status).word, word, "{part} {seconds:?}");
        }
    }
}
