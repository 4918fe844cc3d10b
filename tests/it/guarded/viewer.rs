//! The part `viewer`: it sees what stands still and why, and neither changes anything nor sees a payload.

use sqlx::{Connection, PgConnection};

use super::console::{HEADER, PAGES, PAYLOAD, plant};
use crate::browser::Browser;
use crate::operator::{ROUTER, misbehave, paste};
use crate::role::role;
use crate::world::World;

/// Everything that a repair could change.
const STATE: &str = "select md5(concat(
    (select string_agg(t::text, ',' order by t::text) from outbox.event as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.dead_letter as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.retry as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.parked as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.brake as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.audit as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.queue as t),
    (select string_agg(t::text, ',' order by t::text) from outbox.dropped as t)))";

/// Guards SECURITY.md: a role that plays viewer reads what every command shows that only shows. Postgres refuses it payloads,
/// bodies, values of headers, and every change.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_what_is_stuck_and_nothing_else() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    let planted = plant(&mut world).await;
    let url = role(&world, "viewer").await;
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router), ("USER", "v")];
    let before: String = world.scalar(STATE).await;
    let (event, letter) = (planted.event, &planted.letter);
    for (command, code, shows) in [
        ("status", 1, "Test/One"),
        (&format!("why {event}"), 1, "no such card"),
        (&format!("why {}", planted.parked), 1, "MalformedDetail"),
        ("find --name event_one", 0, "event_one"),
        ("find --key key-9", 0, "key-9"),
        ("dlq summary", 0, "no such card"),
        ("dlq list", 0, "event_one"),
        ("dlq list --name event_one --rpc Test/One", 0, "no such card"),
        (&format!("dlq show {letter}"), 0, "tenant"),
        ("dlq redrive --all --dry-run", 0, "1"),
        ("queue list --rpc Test/One", 0, "event_one"),
        ("queue list --rpc Test/Slow", 0, "event_two"),
        ("parked list", 0, "MalformedDetail"),
        ("audit", 0, ""),
        ("repair list", 0, ""),
        ("routes", 0, "event_one"),
        ("doctor", 0, "may do what a viewer does"),
    ] {
        for format in ["table", "json"] {
            let line = match command {
                "routes" if format == "json" => continue,
                _ => format!("outbox {command} --format {format}"),
            };
            let line = if command == "routes" { "outbox routes".to_owned() } else { line };
            let said = paste(&env, &line).await;
            assert_eq!(said.code, code, "{line}: {said:?}");
            assert!(said.out.contains(shows), "{line}: {said:?}");
            for secret in [PAYLOAD, HEADER] {
                assert!(!format!("{said:?}").contains(secret), "{line}: {said:?}");
            }
        }
    }
    let shown = paste(&env, &format!("outbox dlq show {letter} --format json")).await.json();
    assert_eq!(shown["body_bytes"], planted.body_bytes, "the size is that of the real body: {shown}");
    for (refused, why) in [
        (format!("find --header tenant={HEADER}"), "may not see the values of headers"),
        (format!("dlq list --header tenant={HEADER}"), "may not see the values of headers"),
        (format!("queue list --rpc Test/One --header tenant={HEADER}"), "may not see the values of headers"),
        (format!("dlq show {letter} --payload"), "permission denied"),
        ("dlq redrive --all --yes".to_owned(), "permission denied"),
        ("dlq drop --all --yes".to_owned(), "permission denied"),
        ("queue retry --rpc Test/One --all --yes".to_owned(), "permission denied"),
        ("queue give-up --rpc Test/One --all --yes".to_owned(), "permission denied"),
        ("parked retry --all --yes".to_owned(), "permission denied"),
        ("parked drop --all --yes".to_owned(), "permission denied"),
        ("pause --rpc Test/One --for 1h --why x".to_owned(), "permission denied"),
        ("limit --rpc Test/One --concurrency 1 --for 1h --why x".to_owned(), "permission denied"),
        (format!("replay --event {event} --run --yes"), "permission denied"),
    ] {
        let said = paste(&env, &format!("outbox {refused}")).await;
        assert!(said.code != 0 && said.err.contains(why), "{refused}: {said:?}");
    }
    postgres_refuses(&url).await;
    a_console_can_do_no_more(&world, &url, letter).await;
    assert_eq!(world.scalar::<String>(STATE).await, before, "nothing changed");
    answer.cancel();
    world.finish().await;
}

async fn postgres_refuses(url: &str) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    for statement in [
        "select payload from outbox.event",
        "select headers from outbox.event",
        "select * from outbox.event",
        "select payload from outbox.event_0",
        "select octet_length(payload) from outbox.event",
        "select 1 from outbox.event as e where e::text like '%4111%'",
        "select payload from outbox.parked",
        "select body from outbox.delivery",
        "select body from outbox.delivery_0",
        "select body from outbox.retry",
        "select was from outbox.retry",
        "select plan from outbox.audit",
        "select * from outbox.audit",
        "select body from outbox.dead_letter",
        "copy outbox.dead_letter to stdout",
        "create view pg_temp.v as select * from outbox.dead_letter_shown; select 1 from outbox.dead_letter as l where l.body <> ''",
        "insert into outbox.event (id, name, payload) values (gen_random_uuid(), 'event_one', '{}')",
        "update outbox.retry set due_at = now()",
        "delete from outbox.dead_letter",
        "truncate outbox.event_0",
        "insert into outbox.brake default values",
        "insert into outbox.audit (id, at, who, command) values (gen_random_uuid(), now(), '', '')",
        "select outbox.repair_begin(gen_random_uuid(), 'v', 'x')",
        "select outbox.redrive(gen_random_uuid(), '{}', '{}', '{}')",
        "select outbox.drop_dead_letters(gen_random_uuid(), '{}', '{}', '{}')",
        "select outbox.poison(gen_random_uuid(), 'Test/One', interval '1h')",
        "select outbox.enqueue('event_one', '{}'::text)",
        "select outbox.wake()",
        "select setval('outbox.event_seq', 3)",
        "select nextval('outbox.event_seq')",
        "select outbox.grant_to(current_user::text, 'operator')",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut conn).await.expect_err(statement);
        let code =
            refused.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {refused}");
    }
    let seen: Vec<(String,)> = sqlx::query_as(
        "select body from outbox.dead_letter_shown union all select body from outbox.retry_shown
         union all select body from outbox.delivery_shown union all select headers from outbox.event_shown where headers <> ''
         union all select headers from outbox.parked_shown where headers <> ''",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(seen.iter().any(|(text,)| text.contains("tenant")), "{seen:?}");
    for secret in [PAYLOAD, HEADER] {
        assert!(!seen.iter().any(|(text,)| text.contains(secret)), "{seen:?}");
    }
}

/// However much its own rules would allow.
async fn a_console_can_do_no_more(world: &World, url: &str, letter: &str) {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens").display().to_string();
    std::fs::write(&tokens, "ann operator ann-0123456789abcdefghij sre\n").unwrap();
    let args = ["--auth-token-file", &tokens, "--allow", "destroy=ann", "--allow", "payload=group:sre"];
    let (mut browser, _) = Browser::start(world, url, &args, &[]).await;
    browser.with_token("ann-0123456789abcdefghij");
    for path in PAGES.iter().map(|path| (*path).to_owned()).chain([format!("/dead/letter/{letter}")]) {
        let shown = browser.shown(&path).await;
        assert!(!shown.contains("method=\"post\"") && !shown.contains("form_token"), "{path}: {shown}");
        assert!(!shown.contains("/drop") && !shown.contains("Redrive…"), "{path}: {shown}");
    }
    for (path, fields) in [
        ("/rpc/Test/One/pause", "for=1h&why=x"),
        ("/rpc/Test/One/retry", ""),
        ("/rpc/Test/One/give-up", "why=x"),
        ("/dead/redrive", "rpc=Test%2FOne&dead_by=1&rate=50"),
        ("/drop", "what=letters&rpc=Test%2FOne&dead_by=1&typed=One&why=x"),
        (&format!("/dead/letter/{letter}/payload"), "why=x"),
    ] {
        let answer = browser.post_with(path, fields).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    assert_eq!(browser.get("/drop?what=letters&rpc=Test%2FOne", "text/html").await.status, 403);
}
