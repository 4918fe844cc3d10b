//! The console on AWS.

use super::case::{Case, Route};
use crate::browser::Browser;
use crate::cloud::cloud;
use crate::world::{World, until};

/// Guards promise 8 on AWS: each page shows a real line, and a form redrives what was counted, with its name in the audit.
#[tokio::test(flavor = "multi_thread")]
async fn pages_on_aws_show_a_line_and_repair_it() {
    const ROUTE: Route = Route { event: "event_console_aws", rpc: "Test/ConsoleAws" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    case.done().await;
    let dead = case.dead().await;
    let browser = Browser::open_with(&world, &world.url, &cloud.environment()).await;
    let rpc = "/rpc/Test/ConsoleAws";
    let redrive = "/dead/redrive?rpc=Test%2FConsoleAws&code=invalid_argument";
    let pages = [
        ("/", ROUTE.rpc),
        ("/dead", "no such card"),
        (rpc, "no such card"),
        (&format!("/event/{}", dead[0]), "invalid_argument"),
        ("/events?name=event_console_aws", "event_console_aws"),
        (redrive, "Redrive 3"),
        ("/replay?since=1h", "Send 4 messages"),
        ("/parked", "No parked events"),
        ("/repairs", "Repairs"),
        ("/line", "Processes"),
        ("/routes", ROUTE.event),
        ("/audit", "Audit"),
    ];
    for shown in browser.shows(&pages).await {
        assert!(!shown.contains("can't be shown"), "{shown}");
    }
    let paused = browser.post(rpc, &format!("{rpc}/pause"), "for=1h&why=a+bad+deploy").await;
    assert_eq!(paused.status, 303, "{}", paused.body);
    until("the pause is shown", async || browser.shown(rpc).await.contains("a bad deploy")).await;
    assert_eq!(browser.post(rpc, &format!("{rpc}/resume"), "").await.status, 303);

    case.mend();
    let group = "rpc=Test%2FConsoleAws&code=invalid_argument&rate=50&canary=0&stop_if_dead=5";
    let sent = browser.post(redrive, "/dead/redrive", group).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    world.rpcs.until_done(ROUTE.rpc, &dead).await;
    // Other tests' repairs are in the same table.
    until("the audit has who redrove", async || {
        let audit = browser.json("/audit").await;
        let is_it = |one: &serde_json::Value| {
            one["command"]
                .as_str()
                .is_some_and(|command| command.contains("dlq redrive --rpc=Test/ConsoleAws"))
                && one["who"].as_str().is_some_and(|who| who.contains(", console"))
        };
        audit.as_array().unwrap().iter().any(is_it)
    })
    .await;
    drop(browser);
    case.stop().await;
    world.finish().await;
}

/// Guards promise 8 on AWS: without the database each page answers, and says what it can't know.
#[tokio::test(flavor = "multi_thread")]
async fn pages_on_aws_need_no_database() {
    const ROUTE: Route = Route { event: "event_console_alone", rpc: "Test/ConsoleAlone" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let dead = case.dead().await;
    let browser = Browser::open_with(&world, "", &cloud.environment()).await;
    let pages = [
        ("/", ROUTE.rpc),
        ("/dead", "no such card"),
        ("/rpc/Test/ConsoleAlone", "no such card"),
        (&format!("/event/{}", dead[0]), "invalid_argument"),
        ("/events?name=event_console_alone", "event_console_alone"),
        ("/dead/redrive?rpc=Test%2FConsoleAlone", "Redrive 3"),
        ("/repairs", "Repairs"),
        ("/line", "Processes"),
        ("/routes", ROUTE.event),
        ("/audit", "Audit"),
    ];
    let shown = browser.shows(&pages).await;
    assert!(shown[0].contains("No database is given"), "Now says that nothing is known of the relay");
    for path in ["/replay?since=1h", "/parked"] {
        let page = browser.get(path, "text/html").await;
        assert!(page.body.contains("DATABASE_URL"), "{path}: {page:?}");
    }
    drop(browser);
    case.stop().await;
    world.finish().await;
}
