//! The bytes of a connection: the head of a request, and answers.

use testkit::answers::{self, Sent, Then, Wire};

use crate::history::Answer;

/// The longest wait that an answer may demand, because a run is short.
const RETRY_AFTER_MAX: u64 = 2000;

/// Of a request on HTTP/1.1.
pub(super) struct Head<'a>(pub(super) &'a str);

impl<'a> Head<'a> {
    pub(super) fn path(&self) -> &'a str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let of_line = |line: &'a str| line.split_once(':').filter(|(of, _)| of.eq_ignore_ascii_case(name));
        self.0.lines().find_map(of_line).map(|(_, value)| value.trim())
    }
}

/// An answer, and the connection's end after it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) then: Then,
}

pub(super) fn respond(status: u16, code: &str) -> Written {
    let body = match status {
        200 => "{}".to_owned(),
        _ => format!(r#"{{"code":"{code}","message":"as the torture wants it"}}"#),
    };
    let bytes = format!(
        "HTTP/1.1 {status} as it is\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Written { bytes: bytes.into_bytes(), then: Then::KeepOpen }
}

/// A row of the table of answers.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) answer: Answer,
    pub(super) written: Written,
}

/// Other servers' answers to Connect's JSON on HTTP/1.1, and their meaning for the worker. Permanent refusals are left out,
/// because only an event's own payload causes them.
pub(super) fn rows() -> Vec<Row> {
    let row = |row: answers::Answer| {
        let answers::Answer {
            sent: Sent::Json,
            scheme: "http",
            wire: Wire::Http1(bytes),
            then,
            expected,
            ..
        } = row
        else {
            return None;
        };
        let answer = match expected.code {
            None | Some("already_exists") => Answer::Success,
            Some("invalid_argument" | "out_of_range" | "data_loss") => return None,
            Some(_) => Answer::Failed,
        };
        let soon = expected.retry_after.is_none_or(|millis| millis <= RETRY_AFTER_MAX);
        (soon && expected.calls == 1).then_some(Row { answer, written: Written { bytes, then } })
    };
    answers::all().into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards torture: its servers answer like many others, with failures and with successes.
    #[test]
    fn there_are_answers_of_both_kinds() {
        let rows = rows();
        let successes = rows.iter().filter(|row| row.answer == Answer::Success).count();
        assert!(successes > 10 && rows.len() - successes > 50, "{successes} of {}", rows.len());
    }
}
