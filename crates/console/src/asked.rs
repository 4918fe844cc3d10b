//! A question, and its answer without what must never be shown.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ask::{Ask, Question, Refusal, words};
use crate::clean::{clean, without_passwords};
use crate::shared::Seen;

pub(crate) async fn asked<T: DeserializeOwned>(
    ask: &dyn Ask,
    who: &str,
    words: Vec<String>,
) -> Result<(T, Value), Refusal> {
    let json = cleaned_answer(ask, who, words).await?;
    Ok((read(&json)?, json))
}

pub(crate) async fn cleaned_answer(ask: &dyn Ask, who: &str, words: Vec<String>) -> Result<Value, Refusal> {
    if let Some(refusal) = words::unusable(&words) {
        return Err(refusal);
    }
    let question = Question { words, who: who.to_owned(), changes: false };
    ask.ask(question).await.map(|answer| clean(answer.json)).map_err(|refusal| cleaned(&refusal))
}

pub(crate) fn read<T: DeserializeOwned>(json: &Value) -> Result<T, Refusal> {
    T::deserialize(json).map_err(|error| Refusal {
        code: 1,
        problem: format!("the answer can't be shown: {error}"),
        remedy: "run the command below in a terminal".to_owned(),
    })
}

/// An answer with its time, as a page needs it.
pub(crate) fn read_seen<T: DeserializeOwned>(seen: Seen<Value>) -> Result<Seen<T>, Refusal> {
    let Seen { value, at, late } = seen;
    Ok(Seen { value: read(&value)?, at, late })
}

/// A server's message may repeat an address.
pub(crate) fn cleaned(refusal: &Refusal) -> Refusal {
    Refusal {
        code: refusal.code,
        problem: without_passwords(&refusal.problem),
        remedy: without_passwords(&refusal.remedy),
    }
}
