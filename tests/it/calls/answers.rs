//! Answers of RPC servers, byte for byte, read by the worker's own client. `testkit::answers` has the table.

mod calling; // the worker's client, and one call of it
mod connections; // connections that end while they are used
mod peers; // servers of other projects, as processes
mod real; // their answers

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_contract::Contract;
use testkit::answers::{Answer, Server, Wire, all};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::calling::{Caller, contract};

/// The number of answers that are checked side by side.
const AT_ONCE: usize = 8;

/// Guards promises 2 and 7: the worker reads every answer as the protocol's own clients do. So a success is a success, a
/// refusal is a refusal, and nothing else is either.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_read_as_the_protocols_clients_read_them() {
    let contract = Arc::new(contract());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let answers = all();
    let rows = answers.len();
    let mut under_way = JoinSet::new();
    for answer in answers {
        let (contract, slots) = (Arc::clone(&contract), Arc::clone(&slots));
        under_way.spawn(async move {
            let _slot = slots.acquire().await.expect("never closed");
            check(&answer, &contract).await.map_err(|said| (answer.name.clone(), said))
        });
    }
    let checked = under_way.join_all().await;
    let wrong: BTreeMap<String, String> = checked.into_iter().filter_map(Result::err).collect();
    let list: String = wrong.iter().map(|(name, said)| format!("{name}: {said}\n")).collect();
    assert!(wrong.is_empty(), "{} of {rows} answers are read wrongly:\n{list}", wrong.len());
}

/// Guards the table: it has the expected size, and each row has a name of its own.
#[test]
fn every_answer_has_a_name_of_its_own_and_a_source() {
    let answers = all();
    let names: BTreeMap<&str, &Answer> =
        answers.iter().map(|answer| (answer.name.as_str(), answer)).collect();
    let mut all: Vec<&str> = answers.iter().map(|answer| answer.name.as_str()).collect();
    all.sort_unstable();
    let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(names.len() >= 150, "{}", names.len());
    assert!(answers.iter().all(|answer| answer.source.len() > 10));
}

/// A server that speaks another protocol may close the connection before the request is written. Then the call is made once
/// more.
fn calls_are(answer: &Answer, calls: u32) -> bool {
    let expected = answer.expected.calls;
    calls == expected || matches!(answer.wire, Wire::Foreign(_)) && calls == expected + 1
}

/// The difference between the expected and the actual reading of a row.
async fn check(answer: &Answer, contract: &Contract) -> Result<(), String> {
    let server = Server::start(answer).await.map_err(|error| error.to_string())?;
    let url = format!("{}://{}", answer.scheme, server.addr());
    let said = Caller::new(answer.sent, url, contract).call().await;
    let expected = &answer.expected;
    let (code, message, retry_after) = match &said {
        Ok(()) => (None, "", None),
        Err(error) => (Some(error.code.as_str()), error.message.as_str(), error.retry_after),
    };
    let waits = expected.retry_after.map(Duration::from_millis);
    let right = code == expected.code
        && message.contains(expected.message)
        && retry_after == waits
        && calls_are(answer, server.calls());
    if right && !message.contains("secret") {
        return Ok(());
    }
    let shown: String = message.chars().take(200).collect();
    Err(format!(
        "{code:?} '{shown}' after {retry_after:?} in {} calls, and not {expected:?}; {}",
        server.calls(),
        answer.source
    ))
}
