//! Why one thing could not be written: its server is away, or refuses it for good.
//!
//! Pure. What is away comes back by itself, and is asked again soon. What is refused is refused again, whatever becomes of
//! its neighbours: somebody must mend a right, a queue or a rule first.

/// Text of a server is for people, and may be of any length.
const MESSAGE_CHARS_MAX: usize = 300;

/// One message or record that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Unsettled {
    pub kind: Kind,
    /// The server's own: an SQLSTATE, or AWS's.
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server did not answer, throttles, or takes nobody's requests now.
    Away,
    /// The server takes other requests, and not this one.
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

    /// Guards: no message is longer than anybody reads.
    #[test]
    fn a_message_is_bounded() {
        let long = Unsettled::new(Kind::Refused, "P0001", &format!("a\u{1b}b{}", "x".repeat(1000)));
        assert_eq!((long.message.chars().count(), &long.message[..3]), (MESSAGE_CHARS_MAX, "a b"));
    }
}
