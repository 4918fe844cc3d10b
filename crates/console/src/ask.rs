//! What pages ask, and what is answered. A page shows what a command prints as JSON, and a form runs a command.

use std::fmt;
use std::pin::Pin;

use serde_json::Value;

/// Answers questions: over an installation, or with the examples of the demo.
pub trait Ask: fmt::Debug + Send + Sync + 'static {
    fn ask(&self, question: Question) -> Answering;

    /// The command of these words, ready to be pasted into a terminal.
    fn command(&self, words: &[String]) -> String;
}

pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What comes after `outbox`.
    pub words: Vec<String>,
    /// The name that the audit keeps.
    pub who: String,
    /// Whether it changes something. Then it goes on although the browser has gone.
    pub changes: bool,
}

/// What the command prints with `--format json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub json: Value,
}

/// Why a command did not do its work, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The exit code: 1 failed, 2 unusable arguments, 3 something can't be reached.
    pub code: u8,
    pub problem: String,
    pub remedy: String,
}

/// Who asks for what is the same for all viewers.
pub(crate) const WHO: &str = "console";

impl Question {
    /// It is asked once for all viewers, so that one viewer's searches must not hold it up.
    pub fn is_shared(&self) -> bool {
        self.who == WHO
    }
}

impl Refusal {
    pub(crate) const UNREACHED: u8 = 3;

    /// Then it is not known whether anything has changed.
    pub(crate) fn is_unreached(&self) -> bool {
        self.code == Self::UNREACHED
    }
}

/// The words of the questions that pages ask.
pub(crate) mod words {
    use super::Refusal;

    /// A list that is so long may be longer.
    pub(crate) const REPAIRS_MAX: usize = 40;
    pub(crate) const AUDIT_MAX: usize = 40;
    pub(crate) const FEW_MAX: usize = 20;

    pub(crate) fn of(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// `--name value`, if there is one.
    pub(crate) fn with(words: &mut Vec<String>, name: &str, value: &str) {
        if !value.is_empty() {
            words.push(format!("{name}={value}"));
        }
    }

    /// A text with a NUL is one for no command and no database.
    pub(crate) fn unusable(words: &[String]) -> Option<Refusal> {
        words.iter().any(|word| word.contains('\0')).then(|| Refusal {
            code: 2,
            problem: "what was entered has a character that no text has (NUL)".to_owned(),
            remedy: "enter it without that".to_owned(),
        })
    }

    pub(crate) fn status() -> Vec<String> {
        of(&["status"])
    }

    pub(crate) fn routes() -> Vec<String> {
        of(&["routes"])
    }

    pub(crate) fn repairs() -> Vec<String> {
        of(&["repair", "list", "--limit", &REPAIRS_MAX.to_string()])
    }

    pub(crate) fn role() -> Vec<String> {
        of(&["role"])
    }

    pub(crate) fn retrying(rpc: &str) -> Vec<String> {
        let (rpc, limit) = (format!("--rpc={rpc}"), FEW_MAX.to_string());
        of(&["queue", "list", &rpc, "--state", "retrying", "--limit", &limit])
    }

    pub(crate) fn letters(rpc: &str) -> Vec<String> {
        of(&["dlq", "list", &format!("--rpc={rpc}"), "--limit", &FEW_MAX.to_string()])
    }

    /// Whether a command shows one event, or one letter, and no list.
    pub(crate) fn is_of_one(words: &[String]) -> bool {
        let of: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(of[..], ["why", ..] | ["dlq", "show", ..])
    }

    /// What a browser sent in a path: it can't be taken for a flag.
    pub(crate) fn is_id(text: &str) -> bool {
        let first = text.chars().next();
        first.is_some_and(|c| c.is_ascii_alphanumeric())
            && text.len() <= 100
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    }

    /// A command with filters: those that are empty are left out.
    pub(crate) fn filtered(command: &[&str], filters: &[(&str, &str)]) -> Vec<String> {
        let mut words = of(command);
        for (name, value) in filters {
            with(&mut words, &format!("--{name}"), value);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    /// Guards promise 8: what a browser sends is one word of a command, and never a flag.
    #[test]
    fn a_value_is_one_word() {
        let words =
            words::filtered(&["dlq", "redrive"], &[("rpc", "A/B"), ("code", ""), ("reason", "--all -y")]);
        assert_eq!(words, ["dlq", "redrive", "--rpc=A/B", "--reason=--all -y"]);
        assert!(words::is_id("01a212d5-a2c4-7f3c-92df-450a9015f239") && words::is_id("43120"));
        assert_eq!(words::unusable(&words), None);
        let refused = words::unusable(&words::filtered(&["find"], &[("key", "a\0b")]));
        assert_eq!(refused.map(|refusal| refusal.code), Some(2));
        assert!(!words::is_id("--all") && !words::is_id("") && !words::is_id("a b"));
    }
}
