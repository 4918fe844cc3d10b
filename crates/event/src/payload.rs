//! Finds JSON that no reader of proto3 JSON accepts. The library refuses such a payload, and the relay parks a row with one.
//! The same rule stands in SQL (`outbox.payload_problem`) for publishers in other languages. A test compares both by
//! tests/payloads.json.

use std::borrow::Cow;
use std::collections::HashSet;

/// Deeper JSON may exceed Postgres's stack. Only publishers apply this limit.
pub const DEPTH_MAX: usize = 2000;
/// Up to this number the keys of an object are compared one by one, which takes less time than hashing.
const FEW_KEYS: usize = 16;
/// The digits behind the point in a numeric, to which Postgres converts a number.
const SCALE_MAX: i64 = 16_383;

pub const NOT_AN_OBJECT: &str = "is not a JSON object";
const ESCAPE: &str = "has an escape that stands for no character: \\u0000, or half of a surrogate pair";
const TWICE: &str = "has a key twice in one object";
const NUMBER: &str = "has a number beyond what a double holds";
const DEEP: &str = "is nested too deep";

/// The problem of a text that serde_json wrote or read. The text is JSON, so only mistakes that JSON permits are sought.
pub fn problem(payload: &str, depth_max: usize) -> Option<&'static str> {
    if !payload.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Some(NOT_AN_OBJECT);
    }
    let mut scan = Scan { text: payload, at: 0 };
    // For each open object its keys; `None` for a list.
    let mut open: Vec<Option<Keys<'_>>> = Vec::new();
    while let Some(byte) = scan.peek() {
        match byte {
            b'"' => {
                let text = match scan.string() {
                    Ok(text) => text,
                    Err(problem) => return Some(problem),
                };
                let keys = open.last_mut().and_then(Option::as_mut).filter(|_| scan.is_key());
                if keys.is_some_and(|keys| !keys.insert(text)) {
                    return Some(TWICE);
                }
            }
            b'-' | b'0'..=b'9' => {
                if !is_held(scan.number()) {
                    return Some(NUMBER);
                }
            }
            b'{' | b'[' => {
                if open.len() == depth_max {
                    return Some(DEEP);
                }
                open.push((byte == b'{').then(Keys::default));
                scan.at += 1;
            }
            b'}' | b']' => {
                open.pop();
                scan.at += 1;
            }
            _ => scan.at += 1,
        }
    }
    None
}

/// The keys of one object.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    /// Returns false if the object already has this key.
    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < FEW_KEYS {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

fn is_held(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = exponent.parse::<i64>().ok().and_then(|exponent| (fraction as i64).checked_sub(exponent));
    number.parse().is_ok_and(f64::is_finite) && scale.is_some_and(|scale| scale <= SCALE_MAX)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads the string that begins here, and resolves its escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let begin = self.at;
        self.at += 1;
        // Most strings have no escape, and are skipped as a whole.
        let rest = &self.text[self.at..];
        match rest.find('"').map(|end| &rest[..end]) {
            Some(plain) if !plain.contains('\\') => {
                self.at += plain.len() + 1;
                return Ok(Cow::Borrowed(plain));
            }
            _ => {}
        }
        loop {
            match self.peek() {
                None => return Err(NOT_AN_OBJECT),
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(&self.text[begin..self.at]).map(Cow::Owned).map_err(|_| NOT_AN_OBJECT)
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        let Some(unit) = self.unit() else {
            self.at += 2;
            return Ok(());
        };
        self.at += 6;
        match unit {
            0 | 0xdc00..=0xdfff => Err(ESCAPE),
            0xd800..=0xdbff if matches!(self.unit(), Some(0xdc00..=0xdfff)) => {
                self.at += 6;
                Ok(())
            }
            0xd800..=0xdbff => Err(ESCAPE),
            _ => Ok(()),
        }
    }

    /// The code unit of the escape that begins here, if it has four hexadecimal digits.
    fn unit(&self) -> Option<u16> {
        let escape = self.text.get(self.at..self.at + 6)?;
        u16::from_str_radix(escape.strip_prefix("\\u")?, 16).ok()
    }

    fn number(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Whether a colon comes next.
    fn is_key(&self) -> bool {
        self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']).starts_with(':')
    }
}
