//! The fields of a log line in text: each is `key=value`, and a value with spaces or quotes is in quotes.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

const MESSAGE: &str = "message";

#[derive(Debug)]
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    written: fmt::Result,
}

impl Visit for Line<'_> {
    /// A text of the program's own is always in quotes.
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.add(MESSAGE, &visible(value)),
            name => self.add(name, &format!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            MESSAGE => self.add(MESSAGE, &visible(&value)),
            name => self.add(name, &quoted(&value)),
        }
    }
}

impl Line<'_> {
    fn add(&mut self, name: &str, shown: &str) {
        // Where a record of the crate `log` comes from; it is part of the line's beginning.
        if name.starts_with("log.") || self.written.is_err() {
            return;
        }
        let gap = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        self.written = match name {
            MESSAGE => write!(self.writer, "{gap}{shown}"),
            _ => write!(self.writer, "{gap}{}={shown}", name.trim_start_matches("r#")),
        };
    }
}

/// One line, whatever the text has.
fn visible(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect::<Vec<String>>().concat()
}

/// Pure: as it is, or in quotes with escapes. A text that is in quotes already stays.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    match is_in_quotes(value) || !value.is_empty() && value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("{value:?}"),
    }
}

/// As `{:?}` writes a text: it ends at its second bare quote.
fn is_in_quotes(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            c if c.is_control() => return false,
            _ => {}
        }
    }
    !escaped
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Guards promise 8: each field of a log line can be read by a program, whatever text an error has.
    #[test]
    fn fields_are_keys_and_values() {
        let (written, rpc) = (Written::default(), "A/B");
        let writer = written.clone();
        let logs = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(Fields)
            .finish();
        tracing::subscriber::with_default(logs, || {
            let error = "can't connect: \"refused\"\nat once";
            tracing::warn!(rpc, error = %error, empty = "", retry_in_seconds = 9.9, part = ?Some(1), "not receiving\nnow");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text.trim(),
            "WARN not receiving\\nnow rpc=\"A/B\" error=\"can't connect: \\\"refused\\\"\\nat once\" empty=\"\" retry_in_seconds=9.9 part=Some(1)"
        );
    }

    /// Guards: a plain value has no quotes.
    #[test]
    fn only_what_needs_quotes_has_them() {
        for (value, shown) in [
            ("vm:7049:ab12", "vm:7049:ab12"),
            ("http://a:1", "http://a:1"),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("", "\"\""),
            ("\"a \\\"b\"", "\"a \\\"b\""),
            ("\"a\" and \"b\"", "\"\\\"a\\\" and \\\"b\\\"\""),
            ("\"", "\"\\\"\""),
            ("say \"x\"", "\"say \\\"x\\\"\""),
            ("\u{1b}[2K", "\"\\u{1b}[2K\""),
        ] {
            assert_eq!(quoted(value), shown);
        }
    }
}
