//! Answers of RPC servers, byte for byte, through the worker's own client: `xtask::answers` has the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contract::{Contract, Sources};
use event_router::{Router, Rpc};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use worker::rpc::{Call, CallError, Client, Endpoint, RpcClient, Services};
use xtask::answers::{Answer, Sent, Server, all};
use xtask::process::root;

/// So many answers are looked at side by side.
const AT_ONCE: usize = 8;
/// No row may need it: an answer that is waited for so long is a failure of its own.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Guards promises 2 and 7: whatever a server answers, the worker reads it as the protocol's own clients do. So what is done
/// is done, what is refused is refused, and nothing else is either.
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

/// Guards the table itself: it is as large as it says, and each row can be found by its name.
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

/// Why a row is read wrongly, if it is.
async fn check(answer: &Answer, contract: &Contract) -> Result<(), String> {
    let server = Server::start(answer).await.map_err(|error| error.to_string())?;
    let said = call(answer, &server, contract).await;
    let expected = &answer.expected;
    let (code, message, retry_after) = match &said {
        Ok(()) => (None, "", None),
        Err(error) => (Some(error.code.as_str()), error.message.as_str(), error.retry_after),
    };
    let waits = expected.retry_after.map(Duration::from_millis);
    let right = code == expected.code
        && message.contains(expected.message)
        && retry_after == waits
        && server.calls() == expected.calls;
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

async fn call(answer: &Answer, server: &Server, contract: &Contract) -> Result<(), CallError> {
    let (service, encoding) = match answer.sent {
        Sent::Json => ("EveryJsonService", "json"),
        Sent::Proto => ("EveryProtoService", "proto"),
        Sent::Grpc => ("EveryGrpcService", "grpc"),
    };
    let rpc = Rpc::new(&format!("{service}/Take")).expect("an id");
    let yaml = format!("event:\n  - name: event_maybe_keyed\n    subscriber: [{{ id: {rpc} }}]\n");
    let router = Router::parse("test.yaml", &yaml).expect("a router");
    let services = Services {
        endpoints: &[Endpoint {
            service: service.to_owned(),
            url: format!("{}://{}", answer.scheme, server.addr()),
        }],
        encodings: &[format!("{service}={encoding}").parse().expect("an encoding")],
        contract: Some(contract),
    };
    let client = Client::new(&router, &services).expect("a client");
    let body = format!(
        r#"{{"rpc":"{rpc}","event":{{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_maybe_keyed","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"id":1}}}}}}"#
    );
    let message = event::Message::decode(&body).expect("a message");
    client.call(&Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: TIMEOUT }).await
}

fn contract() -> Contract {
    Sources { protos: vec![root().join("tests/proto")], includes: Vec::new() }.read().expect("protos")
}
