//! Who may send into a queue, by its policy.

use std::collections::BTreeMap;

use outbox_event_router::Rpc;
use serde_json::Value;

use super::queues::Found;
use crate::doctor::diagnosis::Diagnosis;

/// Whether each queue accepts events from the rules that send to it. If not, EventBridge drops the events at once, without a
/// retry.
pub(super) fn look(
    queues: &BTreeMap<Rpc, Found>,
    rules: &BTreeMap<Rpc, Vec<String>>,
    findings: &mut Vec<Diagnosis>,
) {
    for (rpc, rules) in rules {
        let Some(queue) = queues.get(rpc) else { continue };
        let refused: Vec<&String> = rules
            .iter()
            .filter(|rule| !queue.policy.as_ref().is_some_and(|policy| lets_in(policy, rule)))
            .collect();
        if let Some(rule) = refused.first() {
            findings.push(Diagnosis::error(
                &format!("queue {}", queue.name),
                format!(
                    "its policy does not let EventBridge send on behalf of {rule}: those events are lost"
                ),
                "`terraform apply` sets its policy",
            ));
        }
    }
}

/// Whether a statement allows EventBridge to send, for this rule.
fn lets_in(policy: &Value, rule: &str) -> bool {
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    statements.iter().any(|statement| {
        let service = texts(&statement["Principal"]["Service"]);
        let anybody = statement["Principal"] == "*" || texts(&statement["Principal"]["AWS"]).contains(&"*");
        let principal = anybody || service.contains(&"events.amazonaws.com");
        let action = texts(&statement["Action"])
            .iter()
            .any(|action| ["sqs:sendmessage", "sqs:*", "*"].contains(&action.to_lowercase().as_str()));
        let condition = match &statement["Condition"] {
            Value::Object(operators) => operators.iter().all(|(operator, keys)| {
                let arns = keys
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn"));
                match (operator.as_str(), arns) {
                    ("ArnLike" | "ArnEquals" | "StringLike" | "StringEquals", Some((_, arns))) => {
                        texts(arns).iter().any(|pattern| like(pattern, rule))
                    }
                    // Other conditions are not judged here.
                    _ => true,
                }
            }),
            _ => true,
        };
        statement["Effect"] == "Allow" && principal && action && condition
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `*` matches anything, `?` one character.
fn like(pattern: &str, text: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = pattern_chars.as_str();
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| like(rest, &text[at..]))
        }
        Some(expected) => {
            let mut text_chars = text.chars();
            text_chars.next().is_some_and(|c| expected == '?' || c == expected)
                && like(pattern_chars.as_str(), text_chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: a policy as Terraform writes it lets the rule in. Without the rule, the principal or the action, or with a
    /// denial, it does not.
    #[test]
    fn policies_are_read_as_sqs_reads_them() {
        let rule = "arn:aws:events:us-east-1:1:rule/outbox/event_a--A--B";
        let policy = |effect: &str, principal: Value, action: Value, arn: Value| {
            json!({"Statement": [
                {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
                {"Effect": effect, "Principal": principal, "Action": action, "Condition": {"ArnLike": {"aws:SourceArn": arn}}},
            ]})
        };
        let (events, send) = (json!({"Service": "events.amazonaws.com"}), json!("sqs:SendMessage"));
        for (expected, policy) in [
            (true, policy("Allow", events.clone(), send.clone(), json!([rule]))),
            (
                true,
                policy(
                    "Allow",
                    events.clone(),
                    json!(["SQS:SendMessage"]),
                    json!("arn:aws:events:*:rule/outbox/*"),
                ),
            ),
            (true, policy("Allow", json!("*"), json!("sqs:*"), json!(rule))),
            (true, json!({"Statement": {"Effect": "Allow", "Principal": events, "Action": send}})),
            (false, policy("Deny", events.clone(), send.clone(), json!(rule))),
            (false, policy("Allow", json!({"Service": "sns.amazonaws.com"}), send.clone(), json!(rule))),
            (false, policy("Allow", events.clone(), json!("sqs:ReceiveMessage"), json!(rule))),
            (
                false,
                policy(
                    "Allow",
                    events.clone(),
                    send.clone(),
                    json!("arn:aws:events:us-east-1:1:rule/outbox/other"),
                ),
            ),
            (false, json!({})),
        ] {
            assert_eq!(lets_in(&policy, rule), expected, "{policy}");
        }
        assert!(like("a*c?", "abbcd") && !like("a*c", "abbcd") && like("*", "") && !like("?", ""));
    }
}
