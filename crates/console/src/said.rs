//! What is worth knowing of a form that was sent, for the page that is opened after it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::secret::Secret;

/// So many are kept, of all viewers together.
const KEPT_MAX: usize = 100;
const KEY_CHARS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    many: u64,
    newest: VecDeque<Note>,
}

#[derive(Debug)]
struct Note {
    key: String,
    /// It is for this viewer alone.
    viewer: String,
    lines: Vec<String>,
}

impl Said {
    /// Returns the key that the page's address has.
    pub(crate) fn keep(&self, viewer: &str, lines: Vec<String>, secret: &Secret) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.many += 1;
        // Another process has other keys.
        let key: String = secret.sign_for("said", &kept.many.to_string()).chars().take(KEY_CHARS).collect();
        kept.newest.push_front(Note { key: key.clone(), viewer: viewer.to_owned(), lines });
        kept.newest.truncate(KEPT_MAX);
        key
    }

    pub(crate) fn of(&self, viewer: &str, key: &str) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let note = kept.newest.iter().find(|note| note.key == key && note.viewer == viewer);
        note.map(|note| note.lines.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what was said of a form is for who sent it, and does not grow without limit.
    #[test]
    fn a_note_is_for_one_viewer() {
        let (said, secret) = (Said::default(), Secret::new().unwrap());
        let lines = |n: usize| vec![format!("{n} taken back.")];
        let first = said.keep("ann", lines(0), &secret);
        assert_eq!((said.of("ann", &first), said.of("eve", &first)), (lines(0), vec![]));
        let keys: Vec<String> = (1..=KEPT_MAX).map(|n| said.keep("ann", lines(n), &secret)).collect();
        assert_eq!((said.of("ann", &first), said.of("ann", &keys[0])), (vec![], lines(1)));
        assert_eq!(said.of("ann", ""), Vec::<String>::new());
    }
}
