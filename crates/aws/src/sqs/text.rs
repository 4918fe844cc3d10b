//! Makes text from outside valid for SQS.

/// For a reason, which is for people and counts towards the message's size.
const REASON_CHARS_MAX: usize = 1000;
/// The most that a reason adds to a body, which has any size that the bus accepts.
const REASON_BYTES_MAX: usize = 2000;

/// A String attribute holds `#x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF`, and is never empty.
/// (AWS: SendMessage, MessageBody and MessageAttributes.)
pub(super) fn attribute(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars().take(REASON_CHARS_MAX) {
        let c = if is_allowed(c) { c } else { '\u{fffd}' };
        if safe.len() + c.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        safe.push(c);
    }
    if safe.is_empty() { "-".to_owned() } else { safe }
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 6: SQS accepts any text of an RPC's error as the reason of a dead letter.
    #[test]
    fn any_reason_is_taken() {
        for (said, kept) in [
            ("no card", "no card"),
            ("", "-"),
            ("a\tb\r\nc", "a\tb\r\nc"),
            ("\0\u{1}\u{8}\u{b}\u{1f}", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("can not parse: \u{ffff}\u{fffe}", "can not parse: \u{fffd}\u{fffd}"),
            (
                "\u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10ffff}\u{1fffe}",
                "\u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10ffff}\u{1fffe}",
            ),
        ] {
            assert_eq!(attribute(said), kept, "{said:?}");
        }
        assert_eq!(attribute(&"x".repeat(70_000)).len(), REASON_CHARS_MAX);
        assert_eq!(attribute(&"\u{1f600}".repeat(70_000)).len(), REASON_BYTES_MAX);
        for c in '\0'..=char::MAX {
            assert!(attribute(&c.to_string()).chars().all(is_allowed));
        }
    }
}
