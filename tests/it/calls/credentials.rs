//! How a call shows who makes it: a token, headers, a client certificate and a signature, from services.yaml.

use std::time::{Duration, SystemTime};

use outbox::signature::{self, TOLERANCE, VerifyError};
use outbox_event_router::services;
use outbox_event_router::{Router, Rpc};
use outbox_worker::rpc::{Call, CallError, Client, Code, RpcClient, Services};
use testkit::process::Process;

use crate::tls::{Certificate, TlsServer};
use crate::world::{Called, One, ROUTER, Rpcs, Two, World, programs, until};

const BODY: &str = r#"{"rpc":"Test/One","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_one","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{},"payload":{"n":1}}}"#;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// A client with the entry `Test` of a services.yaml.
fn client(entry: &str) -> Client {
    let yaml = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }]\n";
    let router = Router::parse("test.yaml", yaml).unwrap();
    let text = format!("service:\n  Test: {entry}\n");
    let file = services::Services::parse("services.yaml", &text).unwrap_or_else(|report| panic!("{report}"));
    Client::new(&router, &Services { file: Some(&file), ..Services::default() })
        .unwrap_or_else(|error| panic!("{error}: {}", error.remedy()))
}

async fn call(client: &Client) -> Result<(), CallError> {
    let message = outbox_event::Message::decode(BODY).unwrap();
    let rpc = Rpc::new("Test/One").unwrap();
    client.call(&Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) }).await
}

async fn called(rpcs: &Rpcs, client: &Client) -> Called {
    call(client).await.unwrap();
    rpcs.calls().pop().unwrap()
}

/// Guards SECURITY.md: a call carries the token and the headers of its service. A new token is used without a restart, and an
/// unreadable file leaves the last one in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_again() {
    let (rpcs, dir) = (Rpcs::start().await, tempfile::tempdir().unwrap());
    let (token, key) = (dir.path().join("token"), dir.path().join("key"));
    std::fs::write(&token, "one\n").unwrap();
    std::fs::write(&key, "key-7").unwrap();
    let client = client(&format!(
        "{{ address: 'http://{}', token: {{ file: '{}' }}, headers: {{ x-caller: 'outbox', x-api-key: {{ file: '{}' }} }} }}",
        rpcs.addr,
        token.display(),
        key.display()
    ));
    let first = called(&rpcs, &client).await;
    let header = |called: &Called, name: &str| called.incoming.header(name).to_owned();
    assert_eq!(header(&first, "authorization"), "Bearer one");
    assert_eq!((header(&first, "x-caller"), header(&first, "x-api-key")), ("outbox".into(), "key-7".into()));
    std::fs::write(&token, "two").unwrap();
    until("the new token is used", async || {
        header(&called(&rpcs, &client).await, "authorization") == "Bearer two"
    })
    .await;
    std::fs::remove_file(&token).unwrap();
    std::fs::write(&key, "key-8").unwrap();
    until("the new key is used", async || header(&called(&rpcs, &client).await, "x-api-key") == "key-8")
        .await;
    assert_eq!(header(&called(&rpcs, &client).await, "authorization"), "Bearer two");
    assert!(!format!("{client:?}").contains("key-8"), "{client:?}");
}

/// Guards SECURITY.md: the receiving side verifies the body's signature with the library. Another body, another secret and an
/// old request are refused. During a rotation either secret is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_verified_by_the_library() {
    let (rpcs, dir) = (Rpcs::start().await, tempfile::tempdir().unwrap());
    let file = dir.path().join("secrets");
    std::fs::write(&file, format!("{SECRET}\n{OTHER_SECRET}\n")).unwrap();
    let client = client(&format!(
        "{{ address: 'http://{}', signature: {{ secret_file: '{}' }} }}",
        rpcs.addr,
        file.display()
    ));
    let incoming = called(&rpcs, &client).await.incoming;
    assert_eq!(incoming.header("webhook-id"), incoming.header("outbox-event-id"));
    let verify = |secret: &str, body: &[u8], now: SystemTime| {
        let header = |name: &str| incoming.headers.get(name)?.to_str().ok();
        signature::verify(header, body, &signature::secrets(secret).unwrap(), now, TOLERANCE)
    };
    let now = SystemTime::now();
    for secret in [SECRET, OTHER_SECRET] {
        assert_eq!(verify(secret, &incoming.body, now), Ok(()));
    }
    let unknown = "whsec_CAgICAgICAgICAgICAgICAgICAgICAgI";
    assert_eq!(verify(unknown, &incoming.body, now), Err(VerifyError::Signature));
    assert_eq!(verify(SECRET, b"{}", now), Err(VerifyError::Signature));
    assert_eq!(verify(SECRET, &incoming.body, now + TOLERANCE * 2), Err(VerifyError::Time));
}

/// Guards SECURITY.md: a private authority is named for one service, and a server that asks for a certificate gets it. Without
/// them the error names the key of services.yaml.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown() {
    let (rpcs, ours) = (Rpcs::start().await, Certificate::new());
    let tls = TlsServer::start(rpcs.clone(), Some(&ours)).await;
    let address = format!("address: 'https://localhost:{}'", tls.port);
    let ca = &tls.root_file;
    let identity =
        |of: &Certificate| format!("cert: '{}', key: '{}'", of.file("cert.pem"), of.file("key.pem"));

    let whole = client(&format!("{{ {address}, tls: {{ ca: '{ca}', {} }} }}", identity(&ours)));
    call(&whole).await.unwrap();
    assert_eq!(rpcs.calls().len(), 1);
    let bare = client(&format!("{{ {address}, tls: {{ ca: '{ca}' }} }}"));
    assert_eq!(call(&bare).await.unwrap_err().code, Code::Unavailable);
    let stranger = Certificate::new();
    let other = client(&format!("{{ {address}, tls: {{ ca: '{ca}', {} }} }}", identity(&stranger)));
    assert_eq!(call(&other).await.unwrap_err().code, Code::Unavailable);
    let untrusted = client(&format!("{{ {address}, tls: {{ {} }} }}", identity(&ours)));
    let error = call(&untrusted).await.unwrap_err();
    assert!(error.message.contains("name it as `tls.ca` in services.yaml"), "{error}");
    assert_eq!(rpcs.calls().len(), 1);
}

/// Guards SECURITY.md: the authority of one service is trusted beside the system's, and for no other service.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_stands_beside_the_systems() {
    let mut world = World::new(ROUTER).await;
    let (system, own) =
        (TlsServer::start(world.rpcs.clone(), None).await, TlsServer::start(world.rpcs.clone(), None).await);
    world.relay();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("services.yaml");
    // Test has a certificate of the system's, and Other one of its own authority.
    let text = format!(
        "service:\n  Test: {{ address: 'https://localhost:{}', tls: {{ ca: '{own}' }} }}\n  Other: {{ address: 'https://localhost:{}', tls: {{ ca: '{own}' }} }}\n",
        system.port,
        own.port,
        own = own.root_file,
    );
    std::fs::write(&file, text).unwrap();
    let (router, file) = (world.router_file.display().to_string(), file.display().to_string());
    let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--services", &file];
    let env = [("DATABASE_URL", world.url.as_str()), ("SSL_CERT_FILE", system.root_file.as_str())];
    let worker = Process::start(&programs().join("worker"), args, &env).unwrap();
    let (one, two) = (world.publish(One { n: 1 }).await, world.publish(Two { n: 2 }).await);
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    world.until_settled().await;
    assert!(worker.stop().await.unwrap().success());
    world.finish().await;
}
