//! Why one message or record could not be written. Pure.
//!
//! If the server is away, it comes back by itself, and the request is soon repeated. A refused request is refused again, until
//! an operator changes a right, a queue or a rule.

/// A server's text can have any length.
const MESSAGE_CHARS_MAX: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Unsettled {
    pub kind: Kind,
    /// The server's own code: an SQLSTATE, or one of AWS.
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server did not answer, throttles, or accepts no requests now.
    Away,
    /// The server accepts other requests, and not this one.
    Refused,
}

impl Unsettled {
    pub fn new(kind: Kind, code: &str, message: &str) -> Self {
        let message = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { kind, code: code.to_owned(), message: message.take(MESSAGE_CHARS_MAX).collect() }
    }

    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a message has a bounded length.
    #[test]
    fn a_message_is_bounded() {
        let long = Unsettled::new(Kind::Refused, "P0001", &format!("a\u{1b}b{}", "x".repeat(1000)));
        assert_eq!((long.message.chars().count(), &long.message[..3]), (MESSAGE_CHARS_MAX, "a b"));
    }
}
