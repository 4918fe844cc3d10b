//! The console over a real line: what the demo can't show is that real answers fit its pages, and that its forms repair.

use outbox::EventId;

use crate::browser::Browser;
use crate::operator::{ROUTER, misbehave, outbox};
use crate::world::{One, World, until};

const RPC: &str = "/rpc/Test/One";

/// An event that Test/One refuses, so that it is dead.
async fn dead(world: &World) -> EventId {
    let event = world.publish(One { n: 13 }).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    event
}

/// Guards promise 8: each page shows a real line, and as JSON what its command prints.
#[tokio::test(flavor = "multi_thread")]
async fn pages_show_a_real_line() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    world.worker();
    let event = dead(&world).await;
    world.publish(One { n: 14 }).await;
    world.until("select count(*) = 1 from outbox.retry where token is null").await;
    let browser = Browser::open(&world).await;
    let pages = [
        ("/", "Test/One"),
        ("/dead", "no such card"),
        (RPC, "down for the night"),
        (&format!("/event/{event}"), "invalid_argument"),
        ("/events?name=event_one", "event_one"),
        ("/dead/redrive?rpc=Test%2FOne&code=invalid_argument", "Redrive 1"),
        ("/replay?since=1h", "Send 2 messages"),
        ("/parked", "No parked events"),
        ("/repairs", "No redrives"),
        ("/line", "Processes"),
        ("/routes", "event_one"),
        ("/audit", "No repairs"),
    ];
    for shown in browser.shows(&pages).await {
        assert!(!shown.contains("can't be shown"), "{shown}");
    }
    assert_eq!(browser.json("/dead").await["groups"][0]["code"], "invalid_argument");
    assert_eq!(browser.json(&format!("/event/{event}")).await["deliveries"][0]["state"], "dead");
    let letter = browser.json(RPC).await["dead"][0]["id"].as_str().unwrap().to_owned();
    assert!(browser.shown(&format!("/dead/letter/{letter}")).await.contains("no such card"));
    answer.cancel();
    drop(browser);
    world.finish().await;
}

/// Guards promise 8: `status --links` has a page of the console for each problem and each RPC, and the console has these pages.
#[tokio::test(flavor = "multi_thread")]
async fn problems_lead_to_pages() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    world.worker();
    dead(&world).await;
    let browser = Browser::open(&world).await;
    let base = "https://outbox.example.com/ops";
    let said = outbox(&world, &format!("status --format json --links --console-url {base}/")).await.json();
    let mut paths = Vec::new();
    for one in ["problems", "rpcs"].iter().flat_map(|list| said[list].as_array().unwrap()) {
        let url = one["console_url"].as_str().unwrap_or_else(|| panic!("no page: {one}"));
        paths.push(url.strip_prefix(base).unwrap_or_else(|| panic!("{url}")).to_owned());
    }
    for path in ["/dead?rpc=Test%2FOne", RPC, "/rpc/Test/Slow"] {
        assert!(paths.iter().any(|found| found == path), "{path}: {paths:?}");
    }
    for path in &paths {
        browser.shown(path).await;
    }
    let text = outbox(&world, "status --links").await.out;
    let begin = "1 dead letter of Test/One: outbox dlq list --rpc Test/One\n  http://127.0.0.1:9466/dead?rpc=Test%2FOne";
    assert!(text.contains(begin), "{text}");
    assert!(
        text.contains("at its default address") && text.contains("\n  http://127.0.0.1:9466/rpc/Test/One\n"),
        "{text}"
    );
    let refused = outbox(&world, "status --links --console-url https://me:hunter2@outbox.example.com").await;
    assert!(refused.code == 2 && refused.err.contains("without a user"), "{refused:?}");
    assert!(!refused.err.contains("hunter2"), "{refused:?}");
    assert!(!outbox(&world, "status --format json").await.out.contains("console_url"));
    answer.cancel();
    drop(browser);
    world.finish().await;
}

/// Guards promise 8: a form repairs as its command does, and the audit has who sent it.
#[tokio::test(flavor = "multi_thread")]
async fn forms_repair_and_are_in_the_audit() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    world.worker();
    let event = dead(&world).await;
    let browser = Browser::open(&world).await;
    let sent = browser.post(RPC, &format!("{RPC}/pause"), "for=1h&why=a+bad+deploy").await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    // All viewers share one look, which is 2 s old at most.
    until("the pause is shown", async || browser.shown(RPC).await.contains("a bad deploy")).await;
    let sent = browser.post(RPC, &format!("{RPC}/resume"), "").await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let again = browser.post(RPC, &format!("{RPC}/resume"), "").await;
    assert_eq!(again.status, 409, "it is not paused: {}", again.body);

    // It is dead by now: nothing is left to give up.
    let gone = browser.post(RPC, &format!("{RPC}/give-up"), &format!("event={event}&why=x")).await;
    assert!(gone.status == 409 && gone.body.contains("Nothing was changed"), "{gone:?}");

    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let group = "rpc=Test%2FOne&code=invalid_argument";
    let count = format!("/dead/redrive?{group}");
    let shown = browser.shown(&count).await;
    assert!(shown.contains("name=\"dead_by\""), "it is counted: {shown}");
    let fields = format!("{group}&rate=50&canary=0&stop_if_dead=5");
    let sent = browser.post(&count, "/dead/redrive", &fields).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    world.rpcs.until_done("Test/One", &[event]).await;
    until("the redrive has ended", async || browser.json("/repairs").await[0]["state"] == "ended").await;
    let audit = browser.json("/audit").await;
    let entries = audit.as_array().unwrap();
    assert_eq!(entries.len(), 5, "pause, resume, a resume and a give-up of nothing, redrive: {audit}");
    for entry in entries {
        let who = entry["who"].as_str().unwrap();
        assert!(who.starts_with("operator-a@") && who.ends_with(", console"), "{who}");
    }
    let command = entries[0]["command"].as_str().unwrap();
    assert!(command.starts_with("outbox dlq redrive --rpc=Test/One"), "{command}");
    assert!(browser.process.unwrap().stop().await.unwrap().success());
    answer.cancel();
    world.finish().await;
}

/// Guards promise 8: a page says what would be sent again and how much of it was done, and its form sends what was counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_planned_and_run() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let event = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[event]).await;
    let browser = Browser::open(&world).await;
    let planned = "/replay?since=1h&rpc=Test%2FOne";
    until("its success is in the record", async || {
        browser.shown(planned).await.contains("1 of them had been done before")
    })
    .await;
    let plan = browser.json(planned).await;
    let time = |name: &str| plan[name].as_str().unwrap().replace(':', "%3A");
    let (since, until_at) = (time("since"), time("until"));
    let fields = format!("since={since}&until={until_at}&rpc=Test%2FOne&rate=50&why=INC-412");
    let sent = browser.post(planned, "/replay", &fields).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    until("the replay has ended", async || browser.json("/repairs").await[0]["state"] == "ended").await;
    let repair = &browser.json("/repairs").await[0];
    assert_eq!((&repair["progress"]["kind"], &repair["moved"]), (&"replay".into(), &1.into()), "{repair}");
    assert!(repair["command"].as_str().unwrap().contains("--why=INC-412"), "{repair}");
    let id = repair["id"].as_str().unwrap();
    assert!(browser.shown(&format!("/repairs/{id}")).await.contains("outbox repair undo"), "{repair}");
    let refused = browser.post(&format!("/repairs/{id}"), &format!("/repairs/{id}/continue"), "").await;
    assert!(refused.status == 409 && refused.body.contains("nothing is left of it"), "{}", refused.body);
    drop(browser);
    world.finish().await;
}
