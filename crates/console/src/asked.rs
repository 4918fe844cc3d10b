//! A question, and its answer without what must never be shown.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ask::{Ask, Question, Refusal};
use crate::clean::{clean, without_passwords};

pub(crate) async fn asked<T: DeserializeOwned>(
    ask: &dyn Ask,
    who: &str,
    words: Vec<String>,
) -> Result<(T, Value), Refusal> {
    let answer = ask
        .ask(Question { words, who: who.to_owned(), changes: false })
        .await
        .map_err(|refusal| cleaned(&refusal))?;
    let json = clean(answer.json);
    match serde_json::from_value(json.clone()) {
        Ok(value) => Ok((value, json)),
        Err(error) => Err(Refusal {
            code: 1,
            problem: format!("the answer can't be shown: {error}"),
            remedy: "run the command below in a terminal".to_owned(),
        }),
    }
}

/// A server's message may repeat an address.
pub(crate) fn cleaned(refusal: &Refusal) -> Refusal {
    Refusal {
        code: refusal.code,
        problem: without_passwords(&refusal.problem),
        remedy: without_passwords(&refusal.remedy),
    }
}
