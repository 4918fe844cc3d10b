//! In which state an RPC is, in one word. Pure.

use crate::answers::Rpc;
use crate::parts::Tone;
use crate::shown::NOT_KNOWN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) tone: Tone,
    pub(crate) shape: &'static str,
    pub(crate) word: &'static str,
}

impl Standing {
    /// The first that holds: what an operator did, then what keeps all calls away, then what is left behind.
    pub(crate) fn of(rpc: &Rpc) -> Self {
        let serving = &rpc.serving;
        let breaker = rpc.breaker.as_deref();
        let (tone, shape, word) = if rpc.pause.is_some() {
            (Tone::Warning, "‖", "paused")
        } else if rpc.missing.is_some() {
            (Tone::Bad, "○", "has no queue")
        } else if serving.workers == 0 {
            (Tone::Bad, "○", "no worker reports it")
        } else if serving.stands_still {
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
        } else if rpc.waiting.is_none() || rpc.dead.is_none() {
            (Tone::Quiet, "·", NOT_KNOWN)
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
    use crate::answers::Serving;

    /// Guards promise 8: the state that explains the others is the one that is shown.
    #[test]
    fn the_first_cause_is_shown() {
        let serving = |workers, calls| Serving { workers, calls, calls_max: 4, ..Serving::default() };
        let still = Serving { stands_still: true, ..serving(1, 0) };
        let well = Rpc { serving: serving(1, 0), waiting: Some(3), dead: Some(0), ..Rpc::default() };
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
            (Rpc { serving: still, dead: Some(3), ..well.clone() }, "stands still"),
            (Rpc { dead: None, serving: serving(1, 4), ..well.clone() }, "full"),
            (Rpc { waiting: None, ..well.clone() }, "not known"),
            (Rpc { dead: None, ..well }, "not known"),
        ] {
            assert_eq!(Standing::of(&rpc).word, word, "{rpc:?}");
        }
    }

    /// Guards promise 8: what a worker says of its breaker is shown in the words of the table.
    #[test]
    fn a_breaker_has_one_word() {
        assert_eq!(["away", "doubted", "held", "closed"].map(breaker), ["open", "open", "held", "closed"]);
    }
}
