//! In which state an RPC is, in one word. Pure.

use crate::answers::Rpc;
use crate::parts::Tone;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Serving;

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
            assert_eq!(Standing::of(&rpc).word, word, "{rpc:?}");
        }
    }
}
