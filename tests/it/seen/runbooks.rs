//! Runbooks and procedures: what they show works as shown, with the documented role.

mod shown; // what a document shows: commands and statements

use std::collections::BTreeMap;

use outbox::EventId;
use regex::Regex;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::process::root;
use testkit::scrape;

use self::shown::documents;
use crate::operator::{misbehave, paste, publish_malformed};
use crate::role::role;
use crate::world::{One, World};

/// `event_one` may die. No call lasts.
const ROUTER: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One, timeout: 2s }]
";

/// Guards promise 8: each command that a document shows works for a role with the part `operator`, on a running installation.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_as_shown() {
    let world = World::new(ROUTER).await;
    let _answer = misbehave(&world);
    let (relay, mut worker) = (world.relay_process(), world.worker_process());
    let metrics = scrape::addr(&mut worker).await.unwrap();
    let operator = role(&world, "operator").await;
    let router = world.router_file.display().to_string();
    let root = root();
    // A replay sends every dead event again. Without this the RPC would be held then.
    let on = [("DATABASE_URL", operator.as_str()), ("OUTBOX_ROUTER", router.as_str())];
    let poison = paste(&on, "outbox poison --rpc Test/One --yes").await;
    assert_eq!(poison.code, 0, "{poison:?}");
    let mut commands = 0;
    for (file, shown) in documents() {
        if shown.commands.is_empty() {
            continue;
        }
        let parked = file.ends_with("OutboxEventsParked.md");
        let mut fill = if parked { parked_event(&world).await } else { dead_letter(&world).await };
        fill.extend([
            ("RPC", "Test/One".to_owned()),
            ("DIR", "proto".to_owned()),
            ("FILE", "event_router.yaml".to_owned()),
            ("OLD", "Old/Gone".to_owned()),
            ("NEW", "Test/One".to_owned()),
            ("KEY", "key-9".to_owned()),
        ]);
        for command in &shown.commands {
            if parked {
                // What is retried is refused again.
                world.until("select count(*) = 1 from outbox.parked").await;
            }
            if command.contains("OLD") {
                let old = "insert into outbox.queue (rpc) values ('Old/Gone') on conflict do nothing";
                world.execute(old).await;
            }
            let command =
                filled(command, &fill).replace("WORKER:9465", &metrics).replace("HOST:9465", &metrics);
            assert!(!has_placeholder(&command), "{file}: {command}");
            // These two read files alone: the sample's.
            let reads_files = ["outbox check", "outbox routes"].iter().any(|one| command.starts_with(one));
            let env: &[(&str, &str)] = if reads_files { &[] } else { &on };
            let said =
                paste(env, &format!("cd '{}' && {command}{}", root.display(), consent(&command))).await;
            let worked = [0, 1].contains(&said.code) && !said.err.contains("error: ");
            assert!(worked, "{file}: {command}: {said:?}");
            commands += 1;
        }
    }
    assert!(commands > 50, "{commands} commands");
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: each statement that a document shows works for a role with the part `operator`, or for the owner where the
/// document says so.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_works_as_shown() {
    let world = World::new(ROUTER).await;
    let operator = role(&world, "operator").await;
    let mut statements = 0;
    for (file, shown) in documents() {
        let mut fill = BTreeMap::from([
            ("RPC", "Test/One".to_owned()),
            ("ROLE", format!("shown_{:08x}", fastrand::u32(..))),
            ("PASSWORD", "secret".to_owned()),
            ("…", EventId::new().to_string()),
        ]);
        if !shown.statements.iter().any(|(statement, _)| statement.starts_with("create role")) {
            world.execute(&filled("create role ROLE", &fill)).await;
        }
        for (statement, by_owner) in &shown.statements {
            // A session of the operator's own, which its role may end.
            let mut other = PgConnection::connect(&operator).await.unwrap();
            let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut other).await.unwrap();
            fill.insert("PID", pid.to_string());
            let statement = filled(statement, &fill);
            assert!(!has_placeholder(&statement), "{file}: {statement}");
            let url = if *by_owner { &world.url } else { &operator };
            let mut conn = PgConnection::connect(url).await.unwrap();
            let done = conn.execute(AssertSqlSafe(statement.clone())).await;
            assert!(done.is_ok(), "{file}: {statement}: {done:?}");
            statements += 1;
        }
    }
    assert!(statements > 20, "{statements} statements");
    world.finish().await;
}

/// The pages that an alert without an RPC leads to.
const PAGES: [&str; 4] = ["/", "/line", "/parked", "/events?name={{ $labels.name | urlquery }}"];

/// Guards promise 8: each alert has the page of the console for it: that of its RPC, if it is about one.
#[test]
fn each_alert_has_its_page() {
    let rules = std::fs::read_to_string(root().join("ops/prometheus/alerts.yml")).unwrap();
    let mut of_an_rpc = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let begin = "console_url: '{{ with $externalLabels.outbox_console }}{{ . }}";
        let page = rule.split(begin).nth(1).and_then(|rest| rest.split("{{ end }}'\n").next());
        let page = page.unwrap_or_else(|| panic!("{name} has no page of the console"));
        if rule.contains("by (rpc") || rule.contains("by (source, rpc") {
            assert_eq!(page, "/rpc/{{ $labels.rpc }}", "{name}");
            of_an_rpc += 1;
        } else {
            assert!(PAGES.contains(&page), "{name}: {page}");
        }
    }
    assert!(of_an_rpc > 10, "{of_an_rpc} alerts are about an RPC");
}

/// Guards promise 8: each alert names its own runbook, which begins with the alert's severities. Each runbook has its alert.
#[test]
fn each_alert_and_its_runbook_belong_together() {
    let rules = std::fs::read_to_string(root().join("ops/prometheus/alerts.yml")).unwrap();
    let mut alerts: Vec<&str> = Vec::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let severity = rule.split("severity: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let url = format!("{{{{ with $externalLabels.outbox_runbooks }}}}{{{{ . }}}}/{name}.md{{{{ end }}}}");
        assert!(rule.contains(&format!("runbook: ops/runbooks/{name}.md\n")), "{name}");
        assert!(rule.contains(&format!("runbook_url: '{url}'\n")), "{name}");
        let file = root().join("ops/runbooks").join(name).with_extension("md");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let begins = text.strip_prefix(&format!("# {name}\n\n**")).unwrap_or_else(|| panic!("{name}: title"));
        let (severities, _) = begins.split_once("**").unwrap();
        assert!(severities.contains(severity), "{name} is a {severity}, and its runbook says {severities}");
        alerts.push(name);
    }
    for (file, _) in documents() {
        let Some(name) = file.strip_prefix("ops/runbooks/").and_then(|name| name.strip_suffix(".md")) else {
            continue;
        };
        assert!(alerts.contains(&name), "{file} has no alert");
    }
}

/// Guards promise 8: a link of a runbook or procedure leads to a file, and each procedure can be found from `operations.md`.
#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)\)").unwrap();
    let mut linked = Vec::new();
    for (file, _) in documents() {
        let path = root().join(&file);
        let text = std::fs::read_to_string(&path).unwrap();
        for target in link.captures_iter(&text) {
            let target_path = path.parent().unwrap().join(&target[1]);
            assert!(target_path.exists(), "{file}: {}", &target[1]);
            if file == "ops/operations.md" {
                linked.push(format!("ops/{}", &target[1]));
            }
        }
    }
    for (file, _) in documents() {
        assert!(!file.starts_with("ops/procedures/") || linked.contains(&file), "{file} is linked nowhere");
    }
}

/// A dead letter, after a success: else the RPC would be held after five.
async fn dead_letter(world: &World) -> BTreeMap<&'static str, String> {
    let done = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[done]).await;
    let dead = world.publish(One { n: 13 }).await;
    world.until(&format!("select exists (select from outbox.dead_letter where event_id = '{dead}')")).await;
    let id: i64 = world
        .scalar(
            "select seq from outbox.dead_letter where code = 'invalid_argument' order by seq desc limit 1",
        )
        .await;
    let env = [("DATABASE_URL", world.url.as_str())];
    let redriven =
        paste(&env, &format!("outbox dlq redrive --event {dead} --rpc Test/One --format json")).await;
    let repair = redriven.json()["repair"].as_str().unwrap().to_owned();
    world
        .until(&format!(
            "select exists (select from outbox.dead_letter where event_id = '{dead}' and seq > {id})"
        ))
        .await;
    let newest = sqlx::query_scalar("select max(seq) from outbox.dead_letter where event_id = $1");
    let id: i64 = newest.bind(dead.as_uuid()).fetch_one(&world.pool).await.unwrap();
    BTreeMap::from([
        ("EVENT_ID", dead.to_string()),
        ("ID", id.to_string()),
        ("REPAIR_ID", repair),
        ("CODE", "invalid_argument".to_owned()),
    ])
}

async fn parked_event(world: &World) -> BTreeMap<&'static str, String> {
    let id = publish_malformed(world).await;
    world.until("select count(*) = 1 from outbox.parked").await;
    let code: String = world.scalar("select code from outbox.parked").await;
    BTreeMap::from([("EVENT_ID", id.to_string()), ("CODE", code)])
}

/// Puts values for the words in capitals.
fn filled(text: &str, fill: &BTreeMap<&str, String>) -> String {
    let word = Regex::new("(?-u:\\b)[A-Z_]+(?-u:\\b)|…").unwrap();
    word.replace_all(text, |found: &regex::Captures<'_>| {
        fill.get(&found[0]).cloned().unwrap_or_else(|| found[0].to_owned())
    })
    .into_owned()
}

fn has_placeholder(text: &str) -> bool {
    Regex::new("(?-u:\\b)[A-Z][A-Z_]+(?-u:\\b)|…").unwrap().is_match(text)
}

/// There is no terminal to ask at.
fn consent(command: &str) -> &'static str {
    let asks =
        ["outbox dlq drop", "outbox parked drop", "outbox poison", "outbox queue drop", "outbox queue move"];
    let asks = asks.iter().any(|one| command.starts_with(one)) && !command.ends_with("--help");
    if asks { " --yes" } else { "" }
}
