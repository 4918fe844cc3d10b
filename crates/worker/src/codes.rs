//! The table: what a code means for the delivery, for the breaker, and for an operator.
//!
//! Pure. `ops/delivery.md` shows it, and a test compares the two.

use crate::rpc::{By, CallError, Code};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Becomes {
    Done,
    Retried,
    Dead,
}

/// What an answer shows about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Succeeds,
    /// It answers. The failure is specific to this event, or passes.
    Serves,
    /// It may refuse every event, or only this one.
    Doubtful,
    /// The failure has nothing to do with an event.
    Away,
    /// It refuses this event for good.
    Refuses,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) becomes: Becomes,
    pub(crate) says: Says,
    /// For an operator.
    pub(crate) why: &'static str,
}

/// Only what the event itself causes makes a delivery dead. A server, a permission or the order of a deploy can be corrected,
/// so the delivery waits. A dead-letter queue that an outage fills is of no use.
pub(crate) fn row(code: Code) -> Row {
    use Becomes::{Dead, Done, Retried};
    use Says::{Away, Doubtful, Refuses, Serves, Succeeds};
    let (becomes, says, why) = match code {
        Code::AlreadyExists => (Done, Succeeds, "the effect is there: an earlier call's answer was lost"),
        Code::InvalidArgument => (Dead, Refuses, "the same event will be as invalid next time"),
        Code::OutOfRange => (Dead, Refuses, "the same event will be as far out of range next time"),
        Code::DataLoss => (Dead, Refuses, "the server says that nothing can correct it"),
        Code::Canceled => (Retried, Serves, "may pass"),
        Code::Unknown => (Retried, Serves, "may pass: also HTTP 500"),
        Code::Aborted => (Retried, Serves, "may pass"),
        Code::Internal => {
            (Retried, Serves, "may pass: a bug that one event meets, or an answer that can't be read")
        }
        Code::NotFound => (Retried, Serves, "another event may be about to change that"),
        Code::FailedPrecondition => (
            Retried,
            Serves,
            "another event may be about to change that; one that begins with `not called:` is the worker's own, and says nothing",
        ),
        Code::Unavailable => (
            Retried,
            Away,
            "no connection, no TLS, no answer, or a proxy's 502, 503 or 504: no event is to blame. If the server says it \
             itself, it counts as `resource_exhausted`: it may mean one tenant's database",
        ),
        Code::DeadlineExceeded => (
            Retried,
            Doubtful,
            "no answer within `timeout`: the server hangs, or this event takes longer than others",
        ),
        Code::ResourceExhausted => (
            Retried,
            Doubtful,
            "the server is busy, or this event is larger than it takes, or this tenant's quota is used up",
        ),
        Code::Unimplemented => (
            Retried,
            Doubtful,
            "a deploy in the wrong order, also HTTP 404; or a kind of event that the server does not know",
        ),
        Code::PermissionDenied => (
            Retried,
            Doubtful,
            "the worker may not call, or no caller may touch what this event is about; an operator can correct that",
        ),
        Code::Unauthenticated => (
            Retried,
            Doubtful,
            "the worker's credential, or a token that this event carries; an operator can correct that",
        ),
    };
    Row { becomes, says, why }
}

/// What a failed call shows about the server.
pub(crate) fn says(error: &CallError) -> Says {
    match (error.by, row(error.code).says) {
        (By::Worker, _) => Says::Nothing,
        (By::Server, Says::Away) => Says::Doubtful,
        (_, says) => says,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Becomes {
        fn words(self) -> &'static str {
            match self {
                Self::Done => "recorded, acknowledged",
                Self::Retried => "retried",
                Self::Dead => "dead-letter queue, at once, unless the RPC is held",
            }
        }
    }

    impl Says {
        fn words(self) -> &'static str {
            match self {
                Self::Succeeds => "closes",
                Self::Serves => "closes: the server answers",
                Self::Doubtful => "counts as doubtful, once for each event",
                Self::Away => "counts as away, once for each event",
                Self::Refuses => "closes: the server answers; counts for the hold",
                Self::Nothing => "nothing",
            }
        }
    }

    /// The table in the form of `ops/delivery.md`.
    fn table() -> String {
        let row_of = |code: Code| {
            let Row { becomes, says, why } = row(code);
            format!("| `{}` | {} | {} | {why} |\n", code.as_str(), becomes.words(), says.words())
        };
        let head = "| Connect code | the delivery | the breaker | why |\n|---|---|---|---|\n";
        let success = "| (success) | recorded, acknowledged | closes | |\n";
        head.to_owned() + success + &Code::ALL.map(row_of).concat()
    }

    /// Guards promise 8: `ops/delivery.md` has the behaviour of every code. `BLESS=1` rewrites it.
    #[test]
    fn the_document_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/delivery.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once("<!-- codes -->\n").expect("where the table begins");
        let (written, after) = rest.split_once("<!-- end of codes -->").expect("where the table ends");
        if std::env::var_os("BLESS").is_some() {
            let text = format!("{before}<!-- codes -->\n{}<!-- end of codes -->{after}", table());
            std::fs::write(path, text).unwrap();
            return;
        }
        assert_eq!(written, table(), "run this test with BLESS=1, and read the difference");
    }

    /// Guards promise 6: the origin of a failure counts. A server that answers `unavailable` itself is not away, and without a
    /// call nothing is shown.
    #[test]
    fn who_says_so_counts() {
        let of = |code, by| says(&CallError { code, message: String::new(), retry_after: None, by });
        assert_eq!(of(Code::Unavailable, By::Nobody), Says::Away);
        assert_eq!(of(Code::Unavailable, By::Server), Says::Doubtful);
        assert_eq!(of(Code::FailedPrecondition, By::Worker), Says::Nothing);
        assert_eq!(of(Code::FailedPrecondition, By::Server), Says::Serves);
    }
}
