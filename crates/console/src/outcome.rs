//! What a form did, as the answer of its command has it.

use serde_json::Value;

use crate::shown::thousands;

/// How each command calls the number of what it changed.
const DONE: [&str; 5] = ["changed", "moved", "sent", "taken_back", "dropped"];
const LISTED_MAX: usize = 5;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What was not done. With none, all was.
    pub(crate) troubles: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Outcome {
    /// Pure: of any command that a form runs. An answer that says nothing of these is one of a change that was made.
    pub(crate) fn of(answer: &Value) -> Self {
        let mut outcome = Self { troubles: ended(answer), notes: notes(answer) };
        outcome.troubles.extend(left_out(answer));
        if outcome.troubles.is_empty() {
            outcome.troubles.extend(nothing(answer));
        }
        if outcome.troubles.is_empty() {
            outcome.notes.extend(meanwhile(answer));
        }
        outcome
    }
}

fn number(answer: &Value, name: &str) -> i64 {
    answer.get(name).and_then(Value::as_i64).unwrap_or(0)
}

fn texts(answer: &Value, name: &str) -> Vec<String> {
    let texts = answer.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    texts.take(LISTED_MAX).map(str::to_owned).collect()
}

fn done(answer: &Value) -> Option<i64> {
    DONE.iter().find_map(|name| answer.get(*name)?.as_i64())
}

/// Why it ended before its end.
fn ended(answer: &Value) -> Vec<String> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let is = |name: &str| answer.get(name) == Some(&Value::Bool(true));
    let mut why = Vec::new();
    why.extend(text("failed").map(|failed| format!("It failed: {failed}. The rest is as it was.")));
    why.extend(text("stopped").map(|by| format!("It stopped {by}. The rest is as it was.")));
    if is("interrupted") {
        why.push("It was interrupted. The rest is as it was.".to_owned());
    }
    if is("more") {
        why.push("There may be more than were looked at: send the form again.".to_owned());
    }
    why
}

/// What it would not, or could not, change.
fn left_out(answer: &Value) -> Vec<String> {
    let many = |name: &str| Some(number(answer, name)).filter(|many| *many > 0).map(thousands);
    let mut left = Vec::new();
    let not_parked = texts(answer, "not_parked");
    if !not_parked.is_empty() {
        left.push(format!("Not parked: {}. It was retried or dropped meanwhile.", not_parked.join(", ")));
    }
    left.extend(many("cut").map(|many| {
        format!("{many} can't be retried, because only the beginning is kept: publish it again, and drop it.")
    }));
    left.extend(many("busy").map(|many| {
        format!("{many} stay, because their RPC is being called at this moment: send the form again.")
    }));
    left.extend(many("refused").map(|many| {
        let why = texts(answer, "refusals").join("; ");
        format!("{many} stay, because their queue refuses them: {why}")
    }));
    if answer.get("removed") == Some(&Value::Bool(false)) {
        left.push(
            "The queue is still there: something is left in it, or came meanwhile. Send the form again."
                .to_owned(),
        );
    }
    left
}

/// A queue may be removed that was empty.
fn nothing(answer: &Value) -> Option<String> {
    let is_removed = answer.get("removed") == Some(&Value::Bool(true));
    if done(answer) != Some(0) || is_removed {
        return None;
    }
    if answer.get("taken_back").is_some() {
        return Some("Nothing was taken back.".to_owned());
    }
    let why = match number(answer, "found") {
        0 => "what was meant is there no more",
        _ => "it is being called, or was done or moved meanwhile",
    };
    Some(format!("Nothing was changed: {why}."))
}

fn notes(answer: &Value) -> Vec<String> {
    let mut notes: Vec<String> =
        answer.get("said").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    let (taken_back, begun) = (number(answer, "taken_back"), number(answer, "begun"));
    if taken_back > 0 {
        notes.push(format!("{} taken back.", thousands(taken_back)));
    }
    if begun > 0 {
        notes.push(format!("{} had begun or are done, and can't be taken back.", thousands(begun)));
    }
    notes
}

/// Of those that were found.
fn meanwhile(answer: &Value) -> Option<String> {
    let left = number(answer, "found") - done(answer)?;
    (left > 0).then(|| format!("{} are being called, or were done or moved meanwhile.", thousands(left)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards promise 8: what failed in part, or did nothing, does not look as if all was done.
    #[test]
    fn what_was_not_done_is_said() {
        for (answer, troubles, notes) in [
            (json!({"changed": 1, "rpc": "A/B"}), &[][..], &[][..]),
            (json!({"repair": "01a2", "begun": true}), &[], &[]),
            (
                json!({"found": 3, "moved": 3, "busy": 0, "refused": 0, "stopped": null, "failed": null}),
                &[],
                &[],
            ),
            (json!({"found": 3, "changed": 2}), &[], &["1 are being called"]),
            (json!({"found": 1, "changed": 0}), &["Nothing was changed: it is being called"], &[]),
            (json!({"found": 0, "changed": 0}), &["Nothing was changed: what was meant"], &[]),
            (json!({"found": 0, "moved": 0}), &["Nothing was changed"], &[]),
            (json!({"sent": 0}), &["Nothing was changed"], &[]),
            (json!({"found": 900, "changed": 500, "failed": "no disk"}), &["It failed: no disk"], &[]),
            (json!({"found": 9, "changed": 5, "interrupted": true}), &["It was interrupted"], &[]),
            (json!({"found": 9, "changed": 9, "more": true}), &["There may be more"], &[]),
            (json!({"moved": 1, "stopped": "by a@b"}), &["It stopped by a@b"], &[]),
            (json!({"found": 0, "changed": 0, "not_parked": ["7"]}), &["Not parked: 7"], &[]),
            (json!({"found": 0, "changed": 0, "not_parked": [], "cut": 1}), &["1 can't be retried"], &[]),
            (json!({"found": 2, "moved": 1, "busy": 1}), &["1 stay, because their RPC"], &[]),
            (
                json!({"found": 2, "moved": 1, "refused": 1, "refusals": ["7: too long"]}),
                &["1 stay, because their queue refuses them: 7: too long"],
                &[],
            ),
            (json!({"found": null, "dropped": 0, "removed": true}), &[], &[]),
            (json!({"found": null, "dropped": 7, "removed": false}), &["The queue is still there"], &[]),
            (json!({"repair": "01a2", "said": "asked to stop"}), &[], &["asked to stop"]),
            (json!({"of": "01a2", "taken_back": 60, "begun": 0}), &[], &["60 taken back."]),
            (json!({"of": "01a2", "taken_back": 1, "begun": 2}), &[], &["1 taken back.", "2 had begun"]),
            (
                json!({"of": "01a2", "taken_back": 0, "begun": 2}),
                &["Nothing was taken back"],
                &["2 had begun"],
            ),
        ] {
            let outcome = Outcome::of(&answer);
            for (said, begins) in [(&outcome.troubles, troubles), (&outcome.notes, notes)] {
                assert_eq!(said.len(), begins.len(), "{answer}: {outcome:?}");
                let is_said = said.iter().zip(begins).all(|(said, begin)| said.starts_with(begin));
                assert!(is_said, "{answer}: {outcome:?}");
            }
        }
    }
}
