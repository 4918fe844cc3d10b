//! The words of a command, as others may see them.

use serde::{Serialize, Serializer};

/// What follows is a name and a value. Like a payload, the value may be about a person.
const HEADER: &str = "--header";
const HIDDEN: &str = "…";

/// Pure: without the values of headers.
pub fn without_values(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut value_follows = false;
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let word = |word: String| {
        if std::mem::take(&mut value_follows) {
            return hide(&word);
        }
        value_follows = word == HEADER;
        match word.split_once('=') {
            Some((HEADER, pair)) => format!("{HEADER}={}", hide(pair)),
            _ => word,
        }
    };
    words.into_iter().map(word).collect()
}

/// A repair goes on with all of its words. Those who look at it see them without these values.
pub(super) fn shown<S: Serializer>(words: &[String], to: S) -> Result<S::Ok, S::Error> {
    without_values(words.iter().cloned()).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::super::pace::Speed;
    use super::super::repairs::{Kind, Progress};
    use super::*;

    /// Guards SECURITY.md: the value of a header that an operator typed is shown to no other.
    #[test]
    fn a_header_is_shown_by_its_name() {
        for (given, expected) in [
            ("dlq redrive --header tenant=t-9 --yes", "dlq redrive --header tenant=… --yes"),
            ("dlq redrive --header=tenant=t-9 --yes", "dlq redrive --header=tenant=… --yes"),
            ("--header=tenant=a=b --header x=t-9", "--header=tenant=… --header x=…"),
            ("--header t-9 --rpc A/B", "--header … --rpc A/B"),
            ("--header=t-9", "--header=…"),
            ("--headers=t-9 --name=header --key=a=b", "--headers=t-9 --name=header --key=a=b"),
        ] {
            let words = given.split(' ').map(str::to_owned);
            assert_eq!(without_values(words).join(" "), expected, "{given}");
        }
        let progress = Progress {
            kind: Kind::Redrive,
            rpc: None,
            plan: vec!["dlq".to_owned(), "redrive".to_owned(), "--header=tenant=t-9".to_owned()],
            bound: None,
            reached: 0,
            total: None,
            place: None,
            beat_seconds_ago: 0.0,
            stop_by: None,
            speed: Speed::default(),
            taken_back: 0,
        };
        let shown = serde_json::to_string(&progress).unwrap();
        assert!(shown.contains("tenant=…") && !shown.contains("t-9"), "{shown}");
    }
}
