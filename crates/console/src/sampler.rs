//! What all viewers see. With fifty of them the databases are asked as often as with one, and with none they are not asked at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::answers::{Group, Kept, Route, Status, Summary};
use crate::ask::{Ask, Refusal, WHO, words};
use crate::asked::{asked, cleaned_answer, read, read_seen};
use crate::history::{History, Trend};
use crate::shared::{Seen, Shared};

/// Answers that are kept, and how large they are in all.
const ANSWERS_MAX: usize = 48;
const BYTES_MAX: usize = 3 << 20;

#[derive(Debug, Default)]
pub(crate) struct Sampler {
    now: Shared<Look>,
    /// By the words of their commands, as text. The last used one is at the end.
    answers: Mutex<Vec<(Vec<String>, Shared<Arc<str>>)>>,
    history: Mutex<History>,
}

/// For the first page, and others.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) status: Arc<Status>,
    pub(crate) json: Arc<Value>,
    /// Or why they are not known.
    pub(crate) routes: Result<Arc<Vec<Route>>, Refusal>,
}

pub(crate) type Sample = Seen<Look>;

/// Whose answer it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Of the last two seconds.
    All,
    /// Asked for anew.
    One,
}

impl Sampler {
    /// `waits` is for those who have older numbers before them.
    pub(crate) async fn look(
        &self,
        ask: &Arc<dyn Ask>,
        clock: fn() -> DateTime<Utc>,
        waits: bool,
    ) -> Result<Sample, Refusal> {
        let fresh = fresh(Arc::clone(ask));
        let sample =
            if waits { self.now.newest(clock, fresh).await } else { self.now.look(clock, fresh).await }?;
        if sample.late.is_none() {
            self.keep(&sample);
        }
        Ok(sample)
    }

    /// What a command prints. It is the same for all viewers: see `clean`.
    pub(crate) async fn answer(
        &self,
        ask: &Arc<dyn Ask>,
        clock: fn() -> DateTime<Utc>,
        (whose, who): (For, &str),
        words: Vec<String>,
    ) -> Result<Seen<Value>, Refusal> {
        let shared = self.of(&words);
        let who = if whose == For::All { WHO } else { who }.to_owned();
        let ask = Arc::clone(ask);
        let text = async move {
            let json = cleaned_answer(&*ask, &who, words).await?;
            Ok(Arc::from(json.to_string()))
        };
        let Seen { value, at, late } = match whose {
            For::All => shared.look(clock, text).await,
            For::One => shared.anew(clock, text).await,
        }?;
        Ok(Seen { value: serde_json::from_str(&value).unwrap_or_default(), at, late })
    }

    fn of(&self, words: &[String]) -> Shared<Arc<str>> {
        let mut answers = lock(&self.answers);
        let found = answers.iter().position(|(of, _)| of == words).map(|at| answers.remove(at));
        let bytes = |answers: &[(Vec<String>, Shared<Arc<str>>)]| -> usize {
            answers.iter().map(|(words, one)| length(words) + one.size(|text| text.len())).sum()
        };
        let is_full = |answers: &[(Vec<String>, Shared<Arc<str>>)]| {
            answers.len() >= ANSWERS_MAX || bytes(answers) + length(words) > BYTES_MAX
        };
        while !answers.is_empty() && is_full(&answers) {
            answers.remove(0);
        }
        let (words, shared) = found.unwrap_or_else(|| (words.to_vec(), Shared::default()));
        answers.push((words, shared.clone()));
        shared
    }

    /// For those who watch repairs.
    pub(crate) async fn repairs(
        &self,
        ask: &Arc<dyn Ask>,
        clock: fn() -> DateTime<Utc>,
    ) -> Result<Seen<Vec<Kept>>, Refusal> {
        read_seen(self.answer(ask, clock, (For::All, WHO), words::repairs()).await?)
    }

    /// After a form: the next page has what it did.
    pub(crate) fn changed(&self) {
        self.now.changed();
        lock(&self.answers).iter().for_each(|(_, shared)| shared.changed());
    }

    fn keep(&self, sample: &Sample) {
        let mut history = lock(&self.history);
        for rpc in &sample.value.status.rpcs {
            for (what, value) in [("waiting", rpc.waiting), ("dead", rpc.dead)] {
                history.keep(&series(what, &[&rpc.source, &rpc.rpc]), sample.at, value);
            }
        }
    }

    /// Groups are asked for by pages only.
    pub(crate) fn keep_groups(&self, summary: &Summary, at: DateTime<Utc>) {
        let mut history = lock(&self.history);
        for group in &summary.groups {
            history.keep(&series("group", &of_group(group)), at, Some(group.count));
        }
    }

    pub(crate) fn group(&self, group: &Group, now: DateTime<Utc>) -> Trend {
        self.trend("group", &of_group(group), now)
    }

    pub(crate) fn trend(&self, what: &str, of: &[&str], now: DateTime<Utc>) -> Trend {
        lock(&self.history).of(&series(what, of), now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was asked is kept, too.
fn length(words: &[String]) -> usize {
    words.iter().map(String::len).sum()
}

fn of_group(group: &Group) -> [&str; 3] {
    [&group.rpc, &group.code, &group.reason]
}

fn series(what: &str, of: &[&str]) -> String {
    format!("{what}\n{}", of.join("\n"))
}

async fn fresh(ask: Arc<dyn Ask>) -> Result<Look, Refusal> {
    let json = cleaned_answer(&*ask, WHO, words::status()).await?;
    let status: Arc<Status> = Arc::new(read(&json)?);
    // Without the file of routes the map has no edges.
    let routes = asked::<Vec<Route>>(&*ask, WHO, words::routes()).await;
    Ok(Look { status, json: Arc::new(json), routes: routes.map(|(routes, _)| Arc::new(routes)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Demo;

    /// Guards: what is kept for others has a bound in number, and the last used are kept.
    #[tokio::test]
    async fn answers_are_bounded() {
        let (sampler, ask): (_, Arc<dyn Ask>) = (Sampler::default(), Arc::new(Demo));
        for n in 0..3 * ANSWERS_MAX {
            let words = words::of(&["why", &n.to_string()]);
            sampler.answer(&ask, Demo::clock, (For::One, "ann"), words).await.unwrap();
            sampler.answer(&ask, Demo::clock, (For::All, "ann"), words::repairs()).await.unwrap();
        }
        let answers = lock(&sampler.answers);
        assert!(answers.len() <= ANSWERS_MAX && answers.iter().any(|(of, _)| *of == words::repairs()));
    }
}
