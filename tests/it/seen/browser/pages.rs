//! Every page: without barriers, without secrets, and without requests to others.

use connectrpc::ConnectError;
use outbox::Entry;
use serde_json::json;

use super::journey::{Console, Tools, assert_passed};
use crate::operator::ROUTER;
use crate::role::role;
use crate::world::World;

const PASSWORD: &str = "password-planted-7";
const PAYLOAD: &str = "payload-planted-7";
const HEADER: &str = "header-planted-7";

#[derive(Debug, serde::Serialize)]
struct Planted {
    text: &'static str,
    n: i64,
}

impl outbox::Event for Planted {
    const NAME: &'static str = "event_one";
}

/// Guards promise 8: axe finds no barrier on any page, in light, in dark, with forced colours, and on 320 pixels.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_barrier() {
    let Some(tools) = Tools::installed() else { return };
    // Behind a proxy that serves others, too: each link must begin with the path.
    let console = Console::start(
        &["--demo", "--base-path", "/outbox", "--allow=destroy=local", "--allow=payload=local"],
        &[],
    )
    .await;
    assert_passed(&tools.node("access.test.mjs", &console).output().await.unwrap());
    assert!(console.process.stop().await.unwrap().success());
}

/// Guards promise 8: in each zone a time says its day and its zone, so that it is taken for no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_has_its_zone() {
    let Some(tools) = Tools::installed() else { return };
    let console = Console::start(&["--demo"], &[]).await;
    assert_passed(&tools.node("times.test.mjs", &console).output().await.unwrap());
    assert!(console.process.stop().await.unwrap().success());
}

/// Guards SECURITY.md: a payload, a header's value, the database's password and the token occur in no answer, no log, and nothing
/// that an open page gets. No page asks another host, and none breaks its own policy.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_shows_a_secret_or_asks_others() {
    let Some(tools) = Tools::installed() else { return };
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |called| {
        let n = crate::operator::n(called);
        Box::pin(async move {
            match n {
                1 => Ok(()),
                13 => Err(ConnectError::invalid_argument("no such card")),
                _ => Err(ConnectError::unavailable("down for the night")),
            }
        })
    });
    world.relay();
    world.worker();
    let planted = |n| Entry::new(Planted { text: PAYLOAD, n }).key("card-7").header("tenant", HEADER);
    let done = world.publish_all([planted(1)]).await;
    world.rpcs.until_done("Test/One", &done).await;
    world.publish_all([planted(13), planted(14)]).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.retry where token is null").await;
    let url = role(&world, "operator").await.replacen('@', &format!(":{PASSWORD}@"), 1);
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router), ("OUTBOX_LOG", "trace")];
    let mut console = Console::start(&[], &env).await;
    let mut lines = console.process.take_lines();
    let pages = [
        "/dead/letter/",
        "/dead/redrive?",
        "/event/",
        "/rpc/Test/One",
        "/line",
        "/routes",
        "/audit",
        "/repairs",
    ];
    let mut node = tools.node("crawl.test.mjs", &console);
    node.env("PLANTED", json!({"payload": PAYLOAD, "header": HEADER, "password": PASSWORD}).to_string());
    node.env("PAGES", json!(pages).to_string());
    assert_passed(&node.output().await.unwrap());
    let token = console.url.rsplit_once("token=").unwrap().1.to_owned();
    assert!(console.process.stop().await.unwrap().success());
    while let Some(line) = lines.recv().await {
        for secret in [PASSWORD, PAYLOAD, HEADER, &token] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    world.finish().await;
}
