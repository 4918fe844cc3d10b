//! Who asks a command, and where its answer goes: a person at a terminal, or a page of the console.

use std::sync::{Arc, Mutex};

use outbox_event_router::Router;
use outbox_postgres::{Budget, Source};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

/// By default a terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Option<Arc<Page>>);

#[derive(Debug)]
struct Page {
    who: String,
    words: Vec<String>,
    in_use: InUse,
    answer: Mutex<Option<Value>>,
    /// A repair that others see by now.
    begun: watch::Sender<Option<Uuid>>,
}

/// What the process of the page runs with. It wins over files, which may have mistakes by now, and over the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    pub(crate) database: Option<Source>,
    pub(crate) routes: Option<Arc<Router>>,
    /// Those of the process, which several commands of pages share.
    pub(crate) connections: Option<Budget>,
}

impl Asked {
    /// By a page, with the words of the command and the name of who looks at it.
    #[cfg_attr(not(feature = "console"), expect(dead_code, reason = "only the console asks for a page"))]
    pub(crate) fn by_page(who: String, words: Vec<String>, in_use: InUse) -> Self {
        let (answer, begun) = (Mutex::new(None), watch::Sender::new(None));
        Self(Some(Arc::new(Page { who, words, in_use, answer, begun })))
    }

    pub(crate) fn database(&self) -> Option<&Source> {
        self.0.as_ref()?.in_use.database.as_ref()
    }

    pub(crate) fn routes(&self) -> Option<&Router> {
        self.0.as_ref()?.in_use.routes.as_deref()
    }

    pub(crate) fn connections(&self) -> Option<&Budget> {
        self.0.as_ref()?.in_use.connections.as_ref()
    }

    /// Keeps what `--format json` would print. `false` if it is to be printed.
    pub(crate) fn keeps(&self, answer: &impl Serialize) -> bool {
        let Some(page) = &self.0 else { return false };
        let value = serde_json::to_value(answer).expect("texts and numbers serialize");
        if let Ok(mut kept) = page.answer.lock() {
            *kept = Some(value);
        }
        true
    }

    #[cfg_attr(not(feature = "console"), expect(dead_code, reason = "only the console asks for a page"))]
    pub(crate) fn answer(&self) -> Option<Value> {
        self.0.as_ref()?.answer.lock().ok()?.take()
    }

    /// Nothing can refuse it any more, and every operator sees how far it is. A page need not wait for its end.
    pub(crate) fn has_begun(&self, repair: Uuid) {
        if let Some(page) = &self.0 {
            page.begun.send_replace(Some(repair));
        }
    }

    /// The repair, once it has begun.
    #[cfg_attr(not(feature = "console"), expect(dead_code, reason = "only the console asks for a page"))]
    pub(crate) async fn begun(&self) -> Uuid {
        if let Some(page) = &self.0 {
            let mut begun = page.begun.subscribe();
            let repair = begun.wait_for(Option::is_some).await.ok().and_then(|repair| *repair);
            if let Some(repair) = repair {
                return repair;
            }
        }
        std::future::pending().await
    }

    /// The name of who asks, if a page knows it.
    pub(crate) fn who(&self) -> Option<&str> {
        self.0.as_ref().map(|page| page.who.as_str())
    }

    /// The words after `outbox`.
    pub(crate) fn words(&self) -> Vec<String> {
        match &self.0 {
            Some(page) => page.words.clone(),
            None => std::env::args().skip(1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the answer to a terminal is printed.
    #[test]
    fn a_terminal_keeps_no_answer() {
        assert!(!Asked::default().keeps(&1) && Asked::default().who().is_none());
    }

    /// Guards promise 8: a page gets what the command would print as JSON, once.
    #[test]
    fn a_page_gets_the_answer() {
        let asked = Asked::by_page("a, console".to_owned(), vec!["status".to_owned()], InUse::default());
        assert_eq!(asked.answer(), None);
        assert!(asked.keeps(&[1, 2]));
        assert_eq!(asked.answer(), Some(serde_json::json!([1, 2])));
        assert_eq!((asked.answer(), asked.who()), (None, Some("a, console")));
        assert_eq!(asked.words(), ["status"]);
    }
}
