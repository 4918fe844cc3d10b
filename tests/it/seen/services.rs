//! Services that can't be called, as `doctor` and `check` say it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::doctor::assert_finds;
use crate::operator::{outbox, paste};
use crate::tls::TlsServer;
use crate::world::{ROUTER, World};

/// A server that gives every connection one answer.
async fn answers(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                if stream.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                    while stream.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {}
                }
            });
        }
    });
    port
}

/// Guards promise 8: doctor asks each service as a worker would, and says in words what differs and what to write.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_a_service_speaks() {
    let world = World::new(ROUTER).await;
    let http1 = answers(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    // An empty SETTINGS frame, and GOAWAY with PROTOCOL_ERROR.
    let http2 = answers(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01").await;
    let moved = answers(
        b"HTTP/1.1 308 Permanent Redirect\r\nlocation: https://elsewhere.example/x\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let denied = answers(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    let missing = answers(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let tls = TlsServer::start(world.rpcs.clone(), None).await;
    let fails = "accepts connections, and calls would fail";
    let cases = [
        (format!("http://127.0.0.1:{missing}"), vec!["accepts connections, and speaks as the worker does"]),
        (format!("http://{}", world.rpcs.addr), vec!["accepts connections, and speaks as the worker does"]),
        (format!("h2c://127.0.0.1:{http1}"), vec![fails, "it does not speak HTTP/2: write http://127.0.0.1"]),
        (format!("http://127.0.0.1:{http2}"), vec![fails, "it speaks HTTP/2 only: write h2c://127.0.0.1"]),
        (format!("http://127.0.0.1:{moved}"), vec![fails, "HTTP 308 to https://elsewhere.example/x"]),
        (format!("http://127.0.0.1:{denied}"), vec![fails, "HTTP 401", "`token`"]),
        (format!("https://localhost:{}", tls.port), vec![fails, "name it as `tls.ca` in services.yaml"]),
        (format!("http://localhost:{}", tls.port), vec![fails, "it speaks TLS: write https://"]),
        (format!("https://127.0.0.1:{http1}"), vec![fails, "it does not speak TLS: write http://"]),
    ];
    for (url, expected) in cases {
        let said = outbox(&world, &format!("doctor --format json --endpoint Test={url}")).await;
        let found = super::doctor::findings(&said);
        let of_test = found.iter().find(|finding| finding.split(' ').nth(1) == Some("Test:"));
        let of_test = of_test.unwrap_or_else(|| panic!("{url}: {found:#?}"));
        assert!(expected.iter().all(|words| of_test.contains(words)), "{url}: {of_test}");
        assert_finds(&said, "error Other: event_router.yaml calls it, and nothing says where it is");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("services.yaml");
    let text = format!(
        "service:\n  Test: {{ address: 'https://localhost:{}', tls: {{ ca: '{}' }} }}\n  Othr: {{}}\n",
        tls.port, tls.root_file
    );
    std::fs::write(&file, text).unwrap();
    let said = outbox(&world, &format!("doctor --format json --services {}", file.display())).await;
    assert_finds(&said, &format!("ok Test: localhost:{} accepts connections, and speaks", tls.port));
    assert_finds(&said, &format!("warning {}:3:3: no RPC in event_router.yaml is of `Othr`", file.display()));
    assert!(world.rpcs.calls().is_empty(), "doctor runs no RPC");
    world.finish().await;
}

/// Guards promise 8: in CI, check names services without an address and entries for unknown services.
#[tokio::test(flavor = "multi_thread")]
async fn check_names_services_without_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (router, services) = (path("event_router.yaml"), path("services.yaml"));
    std::fs::write(&router, "event:\n  - name: event_a\n    subscriber: [{ id: AService/Take }]\n").unwrap();
    std::fs::write(path("a.proto"), "syntax = \"proto3\";\npackage a.v1;\nmessage A {}\n").unwrap();
    let check = format!(
        "outbox check --format json --router {router} --proto {} --services {services}",
        dir.path().display()
    );
    for (text, found) in [
        ("service:\n  A2Service: { address: 'http://a' }\n", "no address for AService in"),
        (
            "default: { address: 'http://{service}:1' }\nservice: { ASrvice: {} }\n",
            "did you mean `AService`?",
        ),
        ("default: { address: 'a:1' }\n", "`address` is not http://"),
    ] {
        std::fs::write(&services, text).unwrap();
        let said = paste(&[], &check).await;
        assert!(said.out.contains(found), "{said:?}");
    }
}
