//! Requests that SQS refuses by its API Reference and the emulator accepts. Pure.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::refusal::Refusal;

/// For a queue without a MaximumMessageSize, and for a batch.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_048_576;
pub(super) const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);
const ATTRIBUTES_MAX: usize = 10;
const NAME_CHARS_MAX: usize = 256;
const DELAY_SECONDS_MAX: u64 = 900;

/// A received copy of a message.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) queue: String,
    pub(super) at: Instant,
    /// The copy is hidden until then.
    pub(super) until: Instant,
}

/// The refused part of a request: all of it, or these entries.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) whole: Option<Refusal>,
    pub(super) entries: Vec<(String, Refusal)>,
}

pub(super) fn examine(
    operation: &str,
    input: &Value,
    bytes_max: usize,
    now: Instant,
    received: impl Fn(&str) -> Option<Received>,
) -> Examined {
    let one = |entry: &Value| match operation {
        "SendMessage" | "SendMessageBatch" => message(entry, bytes_max),
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
            let handle = entry["ReceiptHandle"].as_str().unwrap_or_default();
            visibility(&entry["VisibilityTimeout"], now, received(handle))
        }
        "ReceiveMessage" => receive(entry),
        _ => None,
    };
    if !operation.ends_with("Batch") {
        return Examined { whole: one(input), entries: Vec::new() };
    }
    let sizes = entries(input).map(size).sum::<usize>();
    if operation == "SendMessageBatch" && sizes > MESSAGE_BYTES_MAX {
        let said = format!(
            "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {sizes} bytes."
        );
        return Examined { whole: Some(Refusal::new("BatchRequestTooLong", said)), entries: Vec::new() };
    }
    let refused =
        entries(input).filter_map(|entry| Some((entry["Id"].as_str()?.to_owned(), one(entry)?))).collect();
    Examined { whole: None, entries: refused }
}

/// The entries of a batch, or the request itself.
pub(super) fn entries(input: &Value) -> impl Iterator<Item = &Value> {
    let entries = input["Entries"].as_array();
    entries.into_iter().flatten().chain(entries.is_none().then_some(input))
}

fn message(entry: &Value, bytes_max: usize) -> Option<Refusal> {
    let attributes = entry["MessageAttributes"].as_object();
    let many = attributes.map_or(0, |attributes| attributes.len());
    if many > ATTRIBUTES_MAX {
        return Some(Refusal::value(format!(
            "Number of message attributes [{many}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )));
    }
    if let Some(refusal) = attributes.into_iter().flatten().find_map(|(name, value)| attribute(name, value)) {
        return Some(refusal);
    }
    if entry["DelaySeconds"].as_u64().is_some_and(|delay| delay > DELAY_SECONDS_MAX) {
        return Some(Refusal::value(format!(
            "Value {} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= {DELAY_SECONDS_MAX}.",
            entry["DelaySeconds"]
        )));
    }
    (size(entry) > bytes_max).then(|| {
        Refusal::value(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
        ))
    })
}

/// The body, and the name, the type and the value of each attribute.
fn size(entry: &Value) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let attributes = entry["MessageAttributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, value)| {
        name.len()
            + text(&value["DataType"])
            + text(&value["StringValue"])
            + text(&value["BinaryValue"]) * 3 / 4
    });
    text(&entry["MessageBody"]) + attributes.sum::<usize>()
}

fn attribute(name: &str, value: &Value) -> Option<Refusal> {
    let lower = name.to_lowercase();
    let is_name = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if !is_name {
        return Some(Refusal::value(format!("The message attribute name '{name}' is invalid.")));
    }
    let kind = value["DataType"].as_str().unwrap_or_default();
    let base = kind.split('.').next().unwrap_or_default();
    if kind.len() > NAME_CHARS_MAX || !["String", "Number", "Binary"].contains(&base) {
        return Some(Refusal::value(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
        )));
    }
    let text = value["StringValue"].as_str().unwrap_or_default();
    if base != "Binary" && text.is_empty() {
        return Some(Refusal::value(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{base}'."
        )));
    }
    let odd = text.chars().find(|c| !is_allowed(*c))?;
    Some(Refusal::value(format!(
        "Invalid binary character '#x{:X}' was found in the message attribute '{name}' value, the set of allowed characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        u32::from(odd)
    )))
}

fn is_allowed(c: char) -> bool {
    matches!(u32::from(c), 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x10000..)
}

fn visibility(asked: &Value, now: Instant, received: Option<Received>) -> Option<Refusal> {
    let seconds = asked.as_i64()?;
    if !(0..=43_200).contains(&seconds) {
        return Some(out_of_range(seconds, "VisibilityTimeout", "Must be between 0 and 43200, if provided."));
    }
    // An unknown handle was never received, and the emulator refuses it.
    let received = received?;
    if received.until <= now {
        return Some(Refusal::value(
            "Value handle for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.",
        ));
    }
    let ends = now.duration_since(received.at) + Duration::from_secs(seconds.unsigned_abs());
    (ends > VISIBILITY_MAX).then(|| {
        out_of_range(
            seconds,
            "VisibilityTimeout",
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        )
    })
}

fn receive(input: &Value) -> Option<Refusal> {
    for (name, max) in [("VisibilityTimeout", 43_200), ("WaitTimeSeconds", 20)] {
        if let Some(value) = input[name].as_i64().filter(|value| !(0..=max).contains(value)) {
            return Some(out_of_range(value, name, &format!("Must be >= 0 and <= {max}, if provided.")));
        }
    }
    None
}

fn out_of_range(value: i64, name: &str, reason: &str) -> Refusal {
    Refusal::value(format!("Value {value} for parameter {name} is invalid. Reason: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: 12 hours count from the receive, and a copy that is visible again no longer belongs to its receiver.
    #[test]
    fn visibility_counts_from_the_receive() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        let start = Instant::now();
        let received = Received { queue: String::new(), at: start, until: start + hours(12) };
        for (after, seconds, taken) in [
            (0, 43_200, true),
            (0, 43_201, false),
            (1, 39_600, true),
            (1, 39_601, false),
            (11, 3_600, true),
            (0, -1, false),
        ] {
            let said = visibility(&json!(seconds), start + hours(after), Some(received.clone()));
            assert_eq!(said.is_none(), taken, "{after} h, {seconds} s: {said:?}");
        }
        assert!(visibility(&json!(0), start + hours(12), Some(received)).is_some());
    }
}
