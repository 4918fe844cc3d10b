//! Why an event was refused, without the parts that are specific to this event.

use std::fmt;

use crate::rpc::{CallError, Code};

const CHARS_MAX: usize = 200;
/// No word of a language is as long, but keys and signatures are.
const WORD_CHARS_MAX: usize = 32;

/// A code, and the message with numbers, ids and quoted values replaced. Equal reasons mean equal refusals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: Code,
    pub(crate) words: String,
}

impl Reason {
    pub(super) fn of(error: &CallError) -> Self {
        Self { code: error.code, words: masked(&error.message) }
    }

    pub(super) fn differing(code: Code) -> Self {
        Self { code, words: "reasons differ".to_owned() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.words)
    }
}

fn masked(message: &str) -> String {
    let (mut words, mut rest) = (String::new(), message.trim());
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            // An apostrophe is part of a word.
            '"' | '`' | '\'' if !in_word => match rest[1..].find(first) {
                Some(end) => {
                    words.push_str("'…'");
                    end + 2
                }
                None => {
                    words.push(first);
                    1
                }
            },
            _ if is_of_word(first) => {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                words.push_str(if is_own(&rest[..end]) { "#" } else { &rest[..end] });
                end
            }
            _ => {
                words.push(if first.is_whitespace() { ' ' } else { first });
                first.len_utf8()
            }
        };
        in_word = is_of_word(first);
        rest = &rest[length..];
    }
    words.chars().take(CHARS_MAX).collect()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "_-.@/+%".contains(c)
}

/// Numbers, ids, addresses, times, keys.
fn is_own(word: &str) -> bool {
    word.contains(|c: char| c.is_numeric() || c == '@') || word.chars().count() > WORD_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Guards: a reason leaves out what differs between events, and keeps the rest.
    #[test]
    fn what_is_the_events_own_is_masked() {
        for (message, words) in [
            ("timeout 10000ms must be <= 5000", "timeout # must be <= #"),
            ("event 01a21352-e4c3-78ff-92d9-cab82d1daf5d: can't parse \"x\"", "event #: can't parse '…'"),
            ("no card 'c-1' of `b`, at 2026-11-25T19:00:00.5Z", "no card '…' of '…', at #:#:#"),
            ("a 'quote that never ends", "a 'quote that never ends"),
            ("mail to someone@example.org bounced", "mail to # bounced"),
            ("ключ № 7 неверен", "ключ № # неверен"),
            ("", ""),
        ] {
            assert_eq!(masked(message), words);
        }
        assert_eq!(masked(&"x".repeat(5000)), "#");
        assert_eq!(masked(&"x ".repeat(5000)).chars().count(), CHARS_MAX);
    }

    proptest! {
        /// Guards promise 6: any message of a server has a bounded reason, and two that differ in a number have the same one.
        #[test]
        fn any_message_has_a_reason(message in ".{0,400}", id in "[0-9]{1,12}") {
            prop_assert!(masked(&message).chars().count() <= CHARS_MAX);
            let with = |id: &str| masked(&format!("card {id} is unknown"));
            prop_assert_eq!(with(&id), with("7"));
        }
    }
}
