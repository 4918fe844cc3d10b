//! What must never be shown, whatever an answer has: payloads, values of headers, and passwords in addresses.

use serde_json::Value;

/// Names of fields whose values never leave the console.
const NEVER: [&str; 3] = ["payload", "body", "headers_values"];

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
                    value => (name, clean(value)),
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(clean).collect()),
        Value::String(text) => Value::String(without_passwords(&text)),
        other => other,
    }
}

/// `postgres://app:secret@db/x` is `postgres://…@db/x`.
pub(crate) fn without_passwords(text: &str) -> String {
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
    }
}
