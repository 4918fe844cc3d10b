//! The words of a command: those that say what is done, and those that say where.

use std::collections::HashMap;

use clap::Args;
use uuid::Uuid;

use crate::asked::Asked;
use crate::options::Options;

/// What this command does, for `outbox repair continue`. It has no address of a database.
pub(crate) fn plan(asked: &Asked) -> Vec<String> {
    split(asked.words().into_iter()).0
}

/// The words that say which installation this process was started for.
pub(crate) fn place() -> Vec<String> {
    split(std::env::args().skip(1)).1
}

/// The command that goes on with a repair: its words, in the installation of this command.
pub(crate) fn again(plan: &[String], id: Uuid) -> Vec<String> {
    let mut words = vec!["outbox".to_owned()];
    words.extend(plan.iter().cloned());
    // It was agreed to when it began.
    if !plan.iter().any(|word| word == "--yes" || word == "-y") {
        words.push("--yes".to_owned());
    }
    words.extend(["--continues".to_owned(), id.to_string()]);
    words.extend(place());
    words
}

/// Pure: the plan of a repair that may move so many more, because others were moved before it.
pub(crate) fn limited(plan: Vec<String>, left: Option<u32>) -> Vec<String> {
    let Some(left) = left else { return plan };
    let mut value_follows = false;
    let word = |word: String| match word.as_str() {
        _ if std::mem::take(&mut value_follows) => left.to_string(),
        "--limit" => {
            value_follows = true;
            word
        }
        joined if joined.starts_with("--limit=") => format!("--limit={left}"),
        _ => word,
    };
    plan.into_iter().map(word).collect()
}

/// Pure: the words of what is done, and those of the installation.
fn split(args: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let options = Options::augment_args(clap::Command::new("outbox"));
    let flags: HashMap<String, bool> = options
        .get_arguments()
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg.get_action().takes_values())))
        .collect();
    let (mut done, mut place, mut value_follows) = (Vec::new(), Vec::new(), false);
    for word in args {
        if std::mem::take(&mut value_follows) {
            place.push(word);
            continue;
        }
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        match flags.get(flag) {
            Some(takes_value) => {
                value_follows = *takes_value && flag == word;
                place.push(word);
            }
            None => done.push(word),
        }
    }
    (done, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a repair is continued with its own words, and in the installation that is named then. No address is
    /// kept.
    #[test]
    fn what_is_done_is_told_from_where() {
        let line = "dlq redrive --database-url postgres://u:s@h/d --rpc A/B --source=cards=postgres://x --format json --rate 5";
        let (done, place) = split(line.split(' ').map(str::to_owned));
        assert_eq!(done.join(" "), "dlq redrive --rpc A/B --rate 5");
        let expected = "--database-url postgres://u:s@h/d --source=cards=postgres://x --format json";
        assert_eq!(place.join(" "), expected);
        let words = again(&done, Uuid::nil()).join(" ");
        assert!(words.starts_with("outbox dlq redrive --rpc A/B --rate 5 --yes --continues 0000"), "{words}");
    }

    /// Guards promise 8: what was moved before counts for the limit of a repair that goes on, and of the one after that.
    #[test]
    fn the_limit_is_what_is_left() {
        for (plan, left, limited_plan) in [
            ("dlq redrive --limit 100 --rate 5", Some(70), "dlq redrive --limit 70 --rate 5"),
            ("dlq drop --rpc A/B --limit=100", Some(1), "dlq drop --rpc A/B --limit=1"),
            ("dlq drop --limit 100", Some(100), "dlq drop --limit 100"),
            ("dlq redrive --rate 100", None, "dlq redrive --rate 100"),
        ] {
            let words = plan.split(' ').map(str::to_owned).collect();
            assert_eq!(limited(words, left).join(" "), limited_plan);
        }
    }
}
