//! Payloads, header values, passwords and keys, which are never shown.

use std::process::Command;

use connectrpc::ConnectError;
use outbox::Entry;
use testkit::process::Process;

use crate::world::{One, ROUTER, Two, World, programs};

const PASSWORD: &str = "password-marked-7";
const SECRET_KEY: &str = "key-marked-7";
const PAYLOAD: &str = "payload-marked-7";
const HEADER: &str = "header-marked-7";
const TOKEN: &str = "token-marked-7";
const SIGNING: &str = "whsec_c2lnbmluZy1tYXJrZWQtNy1zaWduaW5n";

/// Guards SECURITY.md: at the highest log level, no payload, header value or secret is logged, for every outcome of an
/// event.
#[tokio::test(flavor = "multi_thread")]
async fn no_log_shows_a_payload_or_a_secret() {
    let world = World::new(ROUTER).await;
    let url = world.url.replace("outbox@", &format!("outbox:{PASSWORD}@"));
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("OUTBOX_LOG", "trace"),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=key-marked-7"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (services, token, signing) = (path("services.yaml"), path("token"), path("signing"));
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::write(&signing, SIGNING).unwrap();
    let entry = format!(
        "{{ token: {{ file: '{token}' }}, headers: {{ x-key: '{HEADER}' }}, signature: {{ secret_file: '{signing}' }} }}"
    );
    std::fs::write(&services, format!("service:\n  Test: {entry}\n")).unwrap();
    let mut relay = world.relay_process_in(&env);
    let mut worker = world.worker_process_in(&env, &["--services", &services]);
    let (mut said, mut more) = (relay.take_lines(), worker.take_lines());
    // Outcomes: done, retried, dead, parked, malformed, and a transport that fails.
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(async move { if first { Err(ConnectError::internal("not yet")) } else { Ok(()) } })
    });
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let entry = Entry::new(One { n: 1 }).key(PAYLOAD).header("tenant", HEADER);
    let ids = world.publish_all([entry]).await;
    let two = world.publish(Two { n: 1 }).await;
    world
        .execute(&format!(
            "insert into outbox.event (slot, id, name, payload, headers)
             select last_value, gen_random_uuid(), 'event_one', t.payload, t.headers
             from outbox.event_slot, (values ('[\"{PAYLOAD}\"]', null), ('{PAYLOAD}', null),
                 ('{{\"text\":\"{PAYLOAD}\"}}', '{{\"tenant\":[\"{HEADER}\"]}}'), ('{{\"text\":\"{PAYLOAD}\"}}', null)) as t (payload, headers)"
        ))
        .await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    world
        .execute(&format!(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select nextval('outbox.delivery_seq'), id, gen_random_uuid(), '{{\"rpc\":\"{PAYLOAD}\"}}', now(), 0, now(), '', ''
             from outbox.queue where rpc = 'Test/One'"
        ))
        .await;
    world.until("select count(*) = 3 from outbox.parked").await;
    world.until("select count(*) = 2 from outbox.dead_letter").await;
    world.until_settled().await;
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = said.recv().await {
        lines.push(line);
    }
    while let Some(line) = more.recv().await {
        lines.push(line);
    }
    for expected in ["parked", "dead-lettered", "trying again"] {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}");
    }
    let call = world.rpcs.calls().into_iter().find(|call| call.rpc == "Test/One").unwrap();
    assert_eq!(call.incoming.header("authorization"), format!("Bearer {TOKEN}"));
    for marked in [PASSWORD, SECRET_KEY, PAYLOAD, HEADER, TOKEN, SIGNING] {
        let told: Vec<&String> = lines.iter().filter(|line| line.contains(marked)).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
    world.finish().await;
}

/// Guards SECURITY.md: neither `--help` nor an error about an address or an argument repeats a possible secret.
#[tokio::test(flavor = "multi_thread")]
async fn no_help_and_no_error_shows_a_secret() {
    let world = World::new(ROUTER).await;
    let url = format!("postgres://outbox:{PASSWORD}@127.0.0.1:1/nowhere");
    for program in ["relay", "worker", "outbox"] {
        for args in [&["--help"][..], &["--nonsense"], &["--database-url", &format!("mysql://{PASSWORD}")]] {
            let output = Command::new(programs().join(program))
                .args(args)
                .env("DATABASE_URL", &url)
                .env("OUTBOX_SOURCES", &url)
                .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(
                !said.is_empty() && !said.contains(PASSWORD) && !said.contains(SECRET_KEY),
                "{program} {args:?}: {said}"
            );
        }
    }
    // An unreachable database is waited for, and its address is not shown.
    let mut relay = Process::start(
        &programs().join("relay"),
        ["--metrics-addr", "127.0.0.1:0"],
        &[("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &world.router_file.display().to_string())],
    )
    .unwrap();
    let said = relay.wait_for("connecting again").await.unwrap();
    assert!(!said.contains(PASSWORD), "{said}");
    relay.stop().await.unwrap();
    world.finish().await;
}
