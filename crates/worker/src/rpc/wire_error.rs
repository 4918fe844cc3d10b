//! Reads a Connect error, even a damaged one: the code counts, whatever else is there.
//!
//! A JSON parser accepts a whole text or nothing of it. Here the code may be all that can be read. The message may be cut, of
//! another type or not UTF-8, and the details may be too large. The rules are those of connect-go: the last of equal keys
//! counts, the case of a key does not, and null is ignored.

use super::Code;

/// So much of a message is kept, before it is shortened for people.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Longer than any relevant key.
const KEY_BYTES_MAX: usize = 16;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WireError {
    pub(super) code: Option<Code>,
    pub(super) message: String,
}

impl WireError {
    /// Reads a body, or as much of it as came.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut text = Text { bytes: body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body) };
        // Reading ends at the first mistake.
        let _ = text.object(&mut error);
        error
    }
}

/// The rest of a text. A step returns `None` if the text ends within it, or is not JSON there.
struct Text<'b> {
    bytes: &'b [u8],
}

/// A string, and whether its end came.
struct Read {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Text<'_> {
    fn object(&mut self, error: &mut WireError) -> Option<()> {
        self.expect(b'{')?;
        while self.peek()? != b'}' {
            self.expect(b'"')?;
            let key = self.string(KEY_BYTES_MAX);
            self.expect(b':')?;
            match self.peek()? {
                b'"' => self.text_of(&key.bytes, error)?,
                b'n' => self.value()?,
                // A code is neither a number nor an object.
                _ if key.bytes.eq_ignore_ascii_case(b"code") => {
                    error.code = None;
                    self.value()?;
                }
                _ => self.value()?,
            }
            if self.peek()? == b',' {
                self.expect(b',')?;
            }
        }
        Some(())
    }

    fn text_of(&mut self, key: &[u8], error: &mut WireError) -> Option<()> {
        self.expect(b'"')?;
        if key.eq_ignore_ascii_case(b"code") {
            let code = self.string(KEY_BYTES_MAX * 2);
            error.code = str::from_utf8(&code.bytes).ok().filter(|_| code.is_whole)?.parse().ok();
        } else if key.eq_ignore_ascii_case(b"message") {
            let message = self.string(MESSAGE_BYTES_MAX);
            error.message = String::from_utf8_lossy(&message.bytes).into_owned();
        } else {
            self.string(0);
        }
        Some(())
    }

    /// The next byte that isn't a space.
    fn peek(&mut self) -> Option<u8> {
        self.bytes = self.bytes.trim_ascii_start();
        self.bytes.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.bytes = &self.bytes[1..])
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    /// Reads a string after its opening quote, and keeps `keep` bytes.
    fn string(&mut self, keep: usize) -> Read {
        let mut bytes = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return Read { bytes, is_whole: true },
                b'\\' => {
                    let mut utf8 = [0; 4];
                    let escaped = self.escaped().encode_utf8(&mut utf8).as_bytes();
                    if bytes.len() + escaped.len() <= keep {
                        bytes.extend_from_slice(escaped);
                    }
                }
                _ if bytes.len() < keep => bytes.push(byte),
                _ => {}
            }
        }
        Read { bytes, is_whole: false }
    }

    fn escaped(&mut self) -> char {
        match self.next() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => self.unit().map_or(char::REPLACEMENT_CHARACTER, |unit| self.scalar(unit)),
            Some(byte) if byte.is_ascii() => char::from(byte),
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.bytes.split_at_checked(4)?;
        let unit =
            digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))?;
        self.bytes = rest;
        Some(unit)
    }

    /// A surrogate needs its other half.
    fn scalar(&mut self, unit: u32) -> char {
        let whole = char::from_u32(unit);
        if let (None, 0xd800..0xdc00, Some(rest)) = (whole, unit, self.bytes.strip_prefix(b"\\u")) {
            let mut ahead = Text { bytes: rest };
            if let Some(low @ 0xdc00..0xe000) = ahead.unit() {
                self.bytes = ahead.bytes;
                let scalar = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
        }
        whole.unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Skips a value of any depth, with a count in place of a stack.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.next();
                    self.string(0);
                }
                b'[' | b'{' => {
                    self.next();
                    depth += 1;
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.next();
                }
                b',' | b':' if depth > 0 => {
                    self.next();
                }
                _ => self.word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number, true, false or null.
    fn word(&mut self) -> Option<()> {
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = self.bytes.iter().take_while(|byte| is_of_word(byte)).count();
        self.bytes = &self.bytes[length..];
        (length > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> (Option<Code>, String) {
        let error = WireError::read(body.as_bytes());
        (error.code, error.message)
    }

    /// Guards: an error that a JSON parser accepts is read as the parser reads it.
    #[test]
    fn what_a_parser_takes_is_read_alike() {
        let cases = [
            r#"{"code":"aborted","message":"m"}"#,
            r#" { "message" : "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00" , "details" : [ { } ] , "code" : "aborted" } "#,
            r#"{"details":[{"a":[1,2.5e-7,true,null,"]}"]}],"code":"aborted","message":""}"#,
        ];
        for case in cases {
            let value: serde_json::Value = serde_json::from_str(case).unwrap();
            assert_eq!(
                read(case),
                (Some(Code::Aborted), value["message"].as_str().unwrap().to_owned()),
                "{case}"
            );
        }
    }

    /// Guards: a code is found in any damaged text that has it, and nothing else is taken for a code.
    #[test]
    fn a_code_is_read_from_any_rest() {
        let aborted = |message: &str| (Some(Code::Aborted), message.to_owned());
        let nothing = || (None, String::new());
        let cases = [
            (r#"{"code":"aborted""#, aborted("")),
            (r#"{"code":"aborted","message":"half"#, aborted("half")),
            (r#"{"code":"aborted","message":"half\"#, aborted("half\u{fffd}")),
            (r#"{"code":"aborted","message":"\ud83d"}"#, aborted("\u{fffd}")),
            (r#"{"code":"aborted","message":"\ud83d\u0041"}"#, aborted("\u{fffd}A")),
            (r#"{"code":"aborted","message":"\uzz"}"#, aborted("\u{fffd}zz")),
            (r#"{"code":"aborted"]"#, aborted("")),
            (r#"{"code":"aborted","details":]}"#, aborted("")),
            (r#"{"code":"abort"#, nothing()),
            (r#"{"code":aborted}"#, nothing()),
            (r#"{"code" "aborted"}"#, nothing()),
            (r#"{"code":"aborted and more than any code is long"}"#, nothing()),
            (r#"{"x":"code","y":"aborted"}"#, nothing()),
            ("", nothing()),
            ("{", nothing()),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body), expected, "{body}");
        }
    }

    proptest! {
        /// Guards: no bytes cause a panic, and no message exceeds its bound.
        #[test]
        fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
            WireError::read(&body);
            WireError::read(&[b"{\"code\":\"aborted\",\"message\":\"", body.as_slice()].concat());
        }

        /// Guards: the code of an error is found, whatever else the error has.
        #[test]
        fn a_code_is_found_among_any_json(key in "[a-z\"\\\\é]{0,20}", value in ".{0,40}") {
            let mut error = serde_json::json!({ "code": "aborted", "details": [{ &key: &value }] });
            if !key.eq_ignore_ascii_case("code") {
                error[&key] = serde_json::json!([value]);
            }
            prop_assert_eq!(WireError::read(error.to_string().as_bytes()).code, Some(Code::Aborted));
        }
    }
}
