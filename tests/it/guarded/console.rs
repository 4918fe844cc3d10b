//! What the console shows of secrets, and what it takes to change something.

use outbox::{Entry, EventId};
use sqlx::Row;

use crate::browser::Browser;
use crate::operator::{ROUTER, misbehave, paste, publish_malformed};
use crate::world::{One, Two, World};

pub(super) const PAYLOAD: &str = "payload-marked-8";
/// In a field that proto marks.
const PAN: &str = "pan-marked-8";
pub(super) const HEADER: &str = "header-marked-8";
const PASSWORD: &str = "password-marked-8";
const ANN: &str = "ann-token-marked-8-0123456789";
const BOB: &str = "bob-token-marked-8-0123456789";
const EVE: &str = "eve-token-marked-8-0123456789";
const PROTO: &str = "syntax = \"proto3\";
package test.v1;
import \"outbox/options.proto\";
enum Event { EVENT_UNSPECIFIED = 0; EVENT_ONE = 1; }
message OneEvent { int64 n = 1; string text = 2; string pan = 3 [(outbox.sensitive) = true]; }
";

pub(super) const PAGES: [&str; 14] = [
    "/",
    "/dead",
    "/dead/redrive?rpc=Test%2FOne&code=invalid_argument",
    "/rpc/Test/One",
    "/rpc/Test/Slow",
    "/events",
    "/events?name=event_one",
    "/events?key=key-9",
    "/parked",
    "/repairs",
    "/line",
    "/routes",
    "/audit",
    "/rpc/Test/None",
];

/// Nothing was entered, an RPC that is nowhere, and `outbox doctor` without the proto that it was given.
const REFUSED: [&str; 3] = ["/events", "/rpc/Test/None", "/line"];

/// A line where a letter, a retry, a waiting delivery and a parked event have secrets.
pub(super) struct Planted {
    pub(super) event: EventId,
    pub(super) parked: EventId,
    pub(super) letter: String,
    pub(super) body_bytes: i32,
}

pub(super) async fn plant(world: &mut World) -> Planted {
    world.relay();
    let worker = world.worker();
    let header = |n| Entry::new(One { n }).header("tenant", HEADER);
    let ids = world.publish_all([header(13), header(14)]).await;
    let parked = publish_malformed(world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.retry where token is null").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    worker.cancel();
    for table in ["dead_letter", "retry"] {
        let marked = format!(
            "update outbox.{table} set body = replace(body, '\"payload\":{{', '\"payload\":{{\"text\":\"{PAYLOAD}\",\"pan\":\"{PAN}\",')"
        );
        world.execute(&marked).await;
    }
    world
        .execute(&format!(
            "update outbox.parked set payload = '{PAYLOAD}', headers = '{{\"tenant\":\"{HEADER}\"}}'"
        ))
        .await;
    // It stays in the log, because no worker runs.
    world.publish_all([Entry::new(Two { n: 1 }).header("tenant", HEADER)]).await;
    world.until_relay_sleeps().await;
    let letter = "select seq::text, octet_length(body) from outbox.dead_letter";
    let letter = sqlx::query(letter).fetch_one(&world.pool).await.unwrap();
    Planted { event: ids[0], parked, letter: letter.get(0), body_bytes: letter.get(1) }
}

fn people(world: &World) -> (tempfile::TempDir, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens").display().to_string();
    std::fs::write(&tokens, format!("ann operator {ANN} sre\nbob viewer {BOB}\neve viewer {EVE}\n")).unwrap();
    (dir, tokens, world.url.replace("outbox@", &format!("outbox:{PASSWORD}@")))
}

/// Guards SECURITY.md: no payload, value of a header, password or token is in any page, JSON or stream, neither for who may look
/// nor for who may do everything. A payload is in one answer alone, for who may see it, with a reason, and the audit has both.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_shows_a_secret() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    let planted = plant(&mut world).await;
    let (dir, tokens, url) = people(&world);
    let args = ["--auth-token-file", &tokens, "--allow", "payload=group:sre", "--allow", "destroy=ann"];
    let (mut browser, _) = Browser::start(&world, &url, &args, &[("OUTBOX_PROTO", "/no/such/folder")]).await;
    let paths: Vec<String> = PAGES
        .iter()
        .map(|path| (*path).to_owned())
        .chain([
            format!("/event/{}", planted.event),
            format!("/event/{}", planted.parked),
            format!("/dead/letter/{}", planted.letter),
        ])
        .collect();
    let drops =
        ["/drop?what=letters&rpc=Test%2FOne".to_owned(), format!("/drop?what=parked&id={}", planted.parked)];
    for (token, may) in [(ANN, true), (BOB, false)] {
        browser.with_token(token);
        for path in paths.iter().chain(drops.iter().filter(|_| may)) {
            for accept in ["text/html", "application/json"] {
                let page = browser.get(path, accept).await;
                // Keys are searched by those who may repair. As JSON a page has all of its answers, or it is refused.
                let is_refused = accept != "text/html" && REFUSED.contains(&path.as_str());
                if path.contains("key=") && !may {
                    assert_eq!(page.status, 403, "{path}: {page:?}");
                } else {
                    assert_eq!(page.status == 200, !is_refused, "{path}: {page:?}");
                }
                assert_hides(path, &format!("{page:?}"));
            }
        }
        assert_hides("/live", &browser.live().await);
    }
    let letter = format!("/dead/letter/{}", planted.letter);
    let look = format!("{letter}/payload");
    let refused = browser.post_with(&look, "why=curious").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_hides(&look, &refused.body);
    browser.with_token(ANN);
    let unreasoned = browser.post(&letter, &look, "why=+").await;
    assert_eq!(unreasoned.status, 400, "{unreasoned:?}");
    // It is not known which fields are sensitive: this console has no proto.
    let unknown = browser.post(&letter, &look, "why=INC-412").await;
    assert!(unknown.status == 400 && unknown.body.contains("OUTBOX_PROTO"), "{unknown:?}");
    assert_hides(&look, &unknown.body);
    drop(browser);
    std::fs::write(dir.path().join("one.proto"), PROTO).unwrap();
    let proto = dir.path().display().to_string();
    let (mut browser, _) = Browser::start(&world, &url, &args, &[("OUTBOX_PROTO", &proto)]).await;
    browser.with_token(ANN);
    let shown = browser.post(&letter, &look, "why=INC-412").await;
    assert!(shown.status == 200 && shown.head.contains("no-store"), "{shown:?}");
    assert!(shown.body.contains(PAYLOAD) && shown.body.contains("•••"), "{shown:?}");
    for secret in [PAN, HEADER, PASSWORD, ANN] {
        assert!(!shown.body.contains(secret), "{secret}: {shown:?}");
    }
    let audit = browser.json("/audit").await;
    let looked = &audit[0];
    assert_eq!(looked["who"], "ann at 127.0.0.1, console", "{audit}");
    let command = looked["command"].as_str().unwrap();
    assert!(
        command.contains(&format!("dlq show {}", planted.letter)) && command.contains("--why=INC-412"),
        "{audit}"
    );
    let tried = audit.as_array().unwrap().iter().find(|one| one["who"] == "bob at 127.0.0.1, console");
    assert!(tried.is_some_and(|tried| tried["command"].to_string().contains("refused")), "{audit}");
    assert_hides("/audit", &audit.to_string());
    repair_by_header(&world, &mut browser).await;
    answer.cancel();
    world.finish().await;
}

/// The value of a header that an operator typed is shown to no other person, neither as a command nor as the plan of a repair.
async fn repair_by_header(world: &World, browser: &mut Browser) {
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router), ("USER", "operator-a")];
    for command in
        ["queue retry --rpc Test/One --header tenant", "dlq redrive --rpc Test/One --header=tenant"]
    {
        let said = paste(&env, &format!("outbox {command}={HEADER} --yes")).await;
        assert_eq!(said.code, 0, "{command}: {said:?}");
    }
    for token in [ANN, BOB] {
        browser.with_token(token);
        let audit = browser.json("/audit").await;
        let kept =
            audit.as_array().unwrap().iter().filter(|one| one["command"].to_string().contains("tenant=…"));
        assert_eq!(kept.count(), 2, "{audit}");
        for path in ["/audit", "/repairs"] {
            assert_hides(path, &browser.json(path).await.to_string());
            assert_hides(path, &browser.shown(path).await);
        }
    }
}

#[track_caller]
fn assert_hides(path: &str, shown: &str) {
    for secret in [PAYLOAD, PAN, HEADER, PASSWORD, ANN, BOB, EVE] {
        assert!(!shown.contains(secret), "{path} shows {secret}: {shown}");
    }
}

/// Guards SECURITY.md: what can't be taken back is for those who are named, is typed and reasoned, and with a second person is not
/// done by one alone. What was counted is what is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_takes_a_name_a_reason_and_two_people() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    let planted = plant(&mut world).await;
    let (_dir, tokens, url) = people(&world);
    let args = [
        "--auth-token-file",
        &tokens,
        "--allow",
        "destroy=ann",
        "--allow",
        "destroy=eve",
        "--second-person",
        "destroy",
    ];
    let (mut browser, _) = Browser::start(&world, &url, &args, &[]).await;
    let page = "/drop?what=letters&rpc=Test%2FOne&code=invalid_argument";
    browser.with_token(BOB);
    assert_eq!(browser.get(page, "text/html").await.status, 403);
    assert!(!browser.shown("/dead").await.contains("/drop"));
    browser.with_token(ANN);
    assert!(browser.shown("/dead").await.contains("/drop"));
    let shown = browser.shown(page).await;
    assert!(shown.contains("no such card") && shown.contains("name=\"typed\""), "{shown}");
    let fields = |typed: &str, why: &str| {
        format!("what=letters&rpc=Test%2FOne&code=invalid_argument&typed={typed}&why={why}")
    };
    for (typed, why) in [("", "INC-412"), ("Two", "INC-412"), ("Test%2FOne", "INC-412"), ("One", "")] {
        assert_eq!(browser.post(page, "/drop", &fields(typed, why)).await.status, 400, "{typed} {why}");
    }
    let asked = browser.post(page, "/drop", &fields("One", "INC-412")).await;
    let (_, rest) = asked.body.split_once("href=\"/drop?asked=").expect("there is an address for another");
    let link = format!("/drop?asked={}", rest.split('"').next().unwrap().replace("&amp;", "&"));
    let signed = link.split_once('?').unwrap().1.to_owned();
    let left = "select count(*) = 1 from outbox.dead_letter";
    assert!(world.scalar::<bool>(left).await, "one alone drops nothing");
    // The same person, one who may not, and a changed address.
    assert_eq!(browser.get(&link, "text/html").await.status, 400);
    assert_eq!(browser.post(page, "/drop", &signed).await.status, 400);
    let changed = signed.replace("Test%2FOne", "Test%2FSlow");
    assert!(changed != signed);
    browser.with_token(EVE);
    assert_eq!(browser.post(page, "/drop", &changed).await.status, 400);
    browser.with_token(BOB);
    assert_eq!(browser.get(&link, "text/html").await.status, 403);
    assert_eq!(browser.post_with("/drop", &signed).await.status, 403);
    assert!(world.scalar::<bool>(left).await);
    browser.with_token(EVE);
    let confirm = browser.shown(&link).await;
    assert!(
        confirm.contains("ann") && confirm.contains("INC-412") && confirm.contains("no such card"),
        "{confirm}"
    );
    let done = browser.post(&link, "/drop", &signed).await;
    assert_eq!(done.status, 303, "{done:?}");
    world.until("select count(*) = 0 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.audit where kind = 'drop' and ended_at is not null").await;
    let audit = browser.json("/audit").await;
    let dropped =
        audit.as_array().unwrap().iter().find(|one| one["command"].to_string().contains("dlq drop"));
    let dropped = dropped.unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(dropped["who"], "eve at 127.0.0.1, console");
    assert!(dropped["command"].to_string().contains("INC-412 (asked for by ann)"), "{audit}");
    assert_eq!(browser.json(&format!("/event/{}", planted.event)).await["deliveries"][0]["state"], "dropped");
    answer.cancel();
    world.finish().await;
}
