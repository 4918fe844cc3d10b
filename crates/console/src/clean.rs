//! What must never be shown, whatever an answer has: payloads, values of headers, and passwords in addresses.

use serde_json::Value;

/// Names of fields whose values never leave the console.
const NEVER: [&str; 3] = ["payload", "body", "headers_values"];
/// What follows is a password, also after `ssl`.
const PASSWORD: &str = "password=";
/// What a server answered, and how much of it is shown. It may be long, and may have more than an error.
const ERRORS: [&str; 5] = ["reason", "error", "text", "held", "why"];
const ERROR_CHARS_MAX: usize = 500;

/// Pure: an answer without them. Pages and JSON have nothing else.
pub(crate) fn clean(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(name, _)| !NEVER.contains(&name.as_str()))
                .map(|(name, value)| match value {
                    Value::Object(headers) if name == "headers" => {
                        let names = headers.into_iter().map(|(name, _)| Value::String(name));
                        (name, Value::Array(names.collect()))
                    }
                    value if ERRORS.contains(&name.as_str()) => (name, cut(clean(value))),
                    value => (name, clean(value)),
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(clean).collect()),
        Value::String(text) => Value::String(without_passwords(&text)),
        other => other,
    }
}

/// Pure: a list for who may not search by key. A key may be personal.
pub(crate) fn without_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let others = fields.into_iter().filter(|(name, _)| name != "key");
            Value::Object(others.map(|(name, value)| (name, without_keys(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_keys).collect()),
        other => other,
    }
}

/// The beginnings of long texts.
fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > ERROR_CHARS_MAX => {
            Value::String(text.chars().take(ERROR_CHARS_MAX).chain(['…']).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(cut).collect()),
        other => other,
    }
}

/// `postgres://app:secret@db/x` is `postgres://…@db/x`, and `password=secret` is `password=…`.
pub(crate) fn without_passwords(text: &str) -> String {
    without_parameters(&without_users(text))
}

/// In the query of an address, and in the words of a connection string.
fn without_parameters(text: &str) -> String {
    // It keeps the length of each character, unlike `to_lowercase`.
    let lower = text.to_ascii_lowercase();
    let (mut clean, mut from) = (String::new(), 0);
    while let Some(at) = lower[from..].find(PASSWORD) {
        let value = from + at + PASSWORD.len();
        clean.push_str(&text[from..value]);
        clean.push('…');
        // A value may be in quotes, and may have white space then.
        let quote = text[value..].chars().next().filter(|first| matches!(first, '\'' | '"'));
        let begins = value + quote.map_or(0, char::len_utf8);
        let is_end = |c: char| match quote {
            Some(quote) => c == quote,
            None => c.is_whitespace() || "&'\"`<".contains(c),
        };
        from = match text[begins..].find(is_end) {
            Some(end) => begins + end + quote.map_or(0, char::len_utf8),
            None => text.len(),
        };
    }
    clean + &text[from..]
}

fn without_users(text: &str) -> String {
    let (mut clean, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/?#'\"`<>".contains(c)).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clean.push('…');
                &after[at..]
            }
            None => after,
        };
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards: the text of an error is short in JSON as on pages, and a text of ours is whole.
    #[test]
    fn the_text_of_an_error_is_short() {
        let (long, short) = ("é".repeat(501), "é".repeat(500));
        let cut = format!("{short}…");
        let answer =
            json!([{"reason": long, "hint": long, "held": [long, "x"], "last_error": {"text": long}}]);
        let expected =
            json!([{"reason": cut, "hint": long, "held": [cut, "x"], "last_error": {"text": cut}}]);
        assert_eq!(clean(answer), expected);
        assert_eq!(clean(json!({"error": short})), json!({"error": short}));
        let hidden = format!("{}postgres://app:secret@db", " ".repeat(484));
        let shown = clean(json!({"error": hidden})).to_string();
        assert!(shown.contains("postgres://…@db") && !shown.contains("secret"), "{shown}");
    }

    /// Guards: no payload, value of a header or password is in an answer.
    #[test]
    fn what_is_secret_is_left_out() {
        let answer = json!([{
            "id": 7,
            "payload": {"pan": "4111"},
            "body": "4111",
            "headers": {"tenant": "t-9"},
            "reason": "connect postgres://app:se:cr@et@db:5432/x failed, see http://host/a@b"
        }]);
        let expected = json!([{
            "id": 7,
            "headers": ["tenant"],
            "reason": "connect postgres://…@db:5432/x failed, see http://host/a@b"
        }]);
        assert_eq!(clean(answer), expected);
        assert_eq!(without_passwords("a://u@h b://v@i"), "a://…@h b://…@i");
        assert_eq!(without_passwords("://"), "://");
        for (text, expected) in [
            ("postgres://db/x?user=a&password=hunter2", "postgres://db/x?user=a&password=…"),
            (
                "see postgres://db/x?password=hunter2&sslmode=require.",
                "see postgres://db/x?password=…&sslmode=require.",
            ),
            (
                "postgres://u:hunter2@db/x?sslpassword=hunter2 failed",
                "postgres://…@db/x?sslpassword=… failed",
            ),
            ("<a href='postgres://db?Password=hunter2'>", "<a href='postgres://db?Password=…'>"),
            ("host=db password='hunter2 hunter2' user=é", "host=db password=… user=é"),
            ("é password=hunter2<br>password=", "é password=…<br>password=…"),
            ("the password is wrong", "the password is wrong"),
        ] {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
