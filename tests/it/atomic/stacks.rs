//! One suite for every stack of Rust that can publish: what holds with sqlx holds with each.

mod blocking; // diesel without async
mod stack; // every stack
mod work; // a transaction, and what became of its events

use outbox::{EnqueueError, Entry, EventId};
use sqlx::types::Uuid;

use crate::world::{One, ROUTER, Two, World};
use stack::Stack;
use work::{How, Work};

const CHANGE: &str = "insert into change (stack) values ('changed')";

/// A row of `outbox.event`: id, name, key, headers, payload.
type Row = (Uuid, String, Option<String>, Option<String>, String);

async fn rows(world: &World) -> Vec<Row> {
    sqlx::query_as("select id, name, key, headers, payload from outbox.event order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn world() -> World {
    let world = World::new(ROUTER).await;
    world.execute("create table change (stack text)").await;
    world
}

/// With and without key and headers, in turn, and of two types.
fn mixed(count: i64) -> Vec<Entry> {
    let entry = |n| match n % 4 {
        0 => Entry::new(One { n }),
        1 => Entry::new(Two { n }).key(format!("key-{n}")),
        2 => Entry::new(One { n })
            .header("acme-tenant", "t-1")
            .header("acme-region", "é".escape_default().to_string()),
        _ => Entry::new(One { n }).key("").header("acme-tenant", ""),
    };
    (0..count).map(entry).collect()
}

fn ids(outcomes: Vec<Result<EventId, EnqueueError>>) -> Vec<Uuid> {
    outcomes.into_iter().map(|outcome| outcome.unwrap().as_uuid()).collect()
}

/// Guards promise 1: with every stack the event and the change commit together, or neither does. Each writes the row that sqlx
/// writes, one by one and many with one statement, in order.
#[tokio::test(flavor = "multi_thread")]
async fn every_stack_writes_what_sqlx_writes() {
    let world = world().await;
    let expected: Vec<_> = {
        let with_sqlx = world.beside(ROUTER).await;
        with_sqlx.publish_all(mixed(12)).await;
        let rows = rows(&with_sqlx).await;
        with_sqlx.finish().await;
        rows.into_iter().map(|(_, name, key, headers, payload)| (name, key, headers, payload)).collect()
    };
    for (stack, how) in Stack::ALL.into_iter().flat_map(|stack| [(stack, How::Each), (stack, How::All)]) {
        world.execute("delete from change").await;
        world.execute("truncate outbox.event").await;
        let work = Work { before: CHANGE, entries: mixed(12), how, commits: false };
        let rolled_back = stack.publish(&world.url, work).await;
        assert!(rolled_back.iter().all(Result::is_ok), "{stack:?} {how:?}: {rolled_back:?}");
        assert!(rows(&world).await.is_empty(), "{stack:?} {how:?}");
        assert_eq!(world.scalar::<i64>("select count(*) from change").await, 0, "{stack:?} {how:?}");

        let work = Work { before: CHANGE, entries: mixed(12), how, commits: true };
        let published = ids(stack.publish(&world.url, work).await);
        let rows = rows(&world).await;
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), published, "{stack:?} {how:?}");
        let found: Vec<_> =
            rows.into_iter().map(|(_, name, key, headers, payload)| (name, key, headers, payload)).collect();
        assert_eq!(found, expected, "{stack:?} {how:?}");
        assert_eq!(world.scalar::<i64>("select count(*) from change").await, 1, "{stack:?} {how:?}");
    }
    world.finish().await;
}

/// Guards promise 1: a refusal is found before SQL is sent, with the same words in every stack. The transaction stays usable,
/// and one refused event of many keeps all back.
#[tokio::test(flavor = "multi_thread")]
async fn every_stack_refuses_the_same() {
    let world = world().await;
    let refused: [(fn() -> Entry, &str); 4] = [
        (
            || Entry::new(One { n: 1 }).header("authorization", "secret"),
            "header `authorization` of event_one is reserved",
        ),
        (
            || Entry::new(One { n: 1 }).header("acme-tenant", "sécret"),
            "header `acme-tenant` of event_one has a value",
        ),
        (|| Entry::new(One { n: 1 }).key("k".repeat(513)), "key of event_one is 513 bytes; at most 512"),
        (|| Entry::new(One { n: 1 }).key("a\0b"), "key of event_one holds a null character"),
    ];
    for (stack, (entry, expected)) in
        Stack::ALL.into_iter().flat_map(|stack| refused.map(|case| (stack, case)))
    {
        world.execute("truncate outbox.event").await;
        let entries = vec![entry(), Entry::new(One { n: 2 })];
        let mut outcomes =
            stack.publish(&world.url, Work { before: CHANGE, entries, how: How::Each, commits: true }).await;
        let kept = ids(outcomes.split_off(1));
        let error = outcomes.remove(0).unwrap_err();
        assert!(!matches!(error, EnqueueError::Insert(_)), "{stack:?}: {error}");
        assert!(error.to_string().contains(expected), "{stack:?}: {error}, and not: {expected}");
        assert_eq!(rows(&world).await.iter().map(|row| row.0).collect::<Vec<_>>(), kept, "{stack:?}");

        let entries = vec![Entry::new(One { n: 3 }), entry()];
        let outcomes =
            stack.publish(&world.url, Work { before: CHANGE, entries, how: How::All, commits: true }).await;
        let error = outcomes.into_iter().next().unwrap().unwrap_err();
        assert!(error.to_string().contains(expected), "{stack:?}: {error}, and not: {expected}");
        assert_eq!(rows(&world).await.len(), 1, "{stack:?}");
    }
    world.finish().await;
}

/// Guards: what the database refuses names the remedies in every stack, and has the driver's own error with its code.
#[tokio::test(flavor = "multi_thread")]
async fn every_stack_keeps_the_error_of_its_driver() {
    let world = world().await;
    for (stack, how) in Stack::ALL.into_iter().flat_map(|stack| [(stack, How::Each), (stack, How::All)]) {
        let before = "set transaction read only";
        let work = Work { before, entries: vec![Entry::new(One { n: 1 })], how, commits: false };
        let refused = stack.publish(&world.url, work).await.remove(0).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("relay migrate") && said.contains("outbox.grant_to"), "{stack:?}: {said}");
        let EnqueueError::Insert(error) = refused else { panic!("{stack:?}: {refused:?}") };
        assert!(stack.is_read_only(&*error), "{stack:?}: {error:?}");
    }
    world.finish().await;
}

/// Guards promise 1: where the type of a connection does not tell it, a call without a transaction is refused, and writes
/// nothing. A `begin` that was sent as SQL is not known to diesel.
#[tokio::test(flavor = "multi_thread")]
async fn outside_a_transaction_nothing_is_written() {
    let world = world().await;
    for (stack, how) in
        Stack::WITHOUT_TYPE.into_iter().flat_map(|stack| [(stack, How::Each), (stack, How::All)])
    {
        for before in ["select 1", "begin"] {
            let refused =
                stack.publish_without(&world.url, before, Entry::new(One { n: 1 }), how).await.unwrap_err();
            assert!(
                matches!(refused, EnqueueError::NoTransaction { name: "event_one" }),
                "{stack:?}: {refused:?}"
            );
            assert!(refused.to_string().contains("connection.transaction(…)"), "{stack:?}: {refused}");
        }
    }
    assert!(rows(&world).await.is_empty());
    world.finish().await;
}

/// Guards promises 1 and 5: each stack wakes a relay that sleeps. `finish` fails if the fallback poll found an event.
#[tokio::test(flavor = "multi_thread")]
async fn every_stack_wakes_the_relay() {
    let mut world = world().await;
    world.relay();
    world.worker();
    for (stack, how) in Stack::ALL.into_iter().flat_map(|stack| [(stack, How::Each), (stack, How::All)]) {
        world.until_relay_sleeps().await;
        let entries = vec![Entry::new(One { n: 1 })];
        let published =
            ids(stack.publish(&world.url, Work { before: CHANGE, entries, how, commits: true }).await);
        world
            .rpcs
            .until_done("Test/One", &published.into_iter().map(EventId::from).collect::<Vec<_>>())
            .await;
    }
    world.finish().await;
}

/// Guards promises 2 and 4: all stacks publish at once, and each event arrives once. Those of one key are in the order of their
/// transactions, whichever stack wrote them.
#[tokio::test(flavor = "multi_thread")]
async fn all_stacks_publish_at_once_in_the_order_of_the_key() {
    let mut world = world().await;
    world.execute("create table counter (n bigint)").await;
    world.execute("insert into counter values (0)").await;
    world.relay();
    world.worker();
    let mut tasks = Vec::new();
    for (stack, url) in Stack::ALL.into_iter().map(|stack| (stack, world.url.clone())) {
        tasks.push(tokio::spawn(async move {
            let mut published = Vec::new();
            for turn in 0..10 {
                // The row of the key is locked before the event is written.
                let before = "update counter set n = n + 1";
                let how = if turn % 2 == 0 { How::Each } else { How::All };
                let entries = (0..20).map(|n| Entry::new(One { n }).key("counter")).collect();
                published.push(ids(stack.publish(&url, Work { before, entries, how, commits: true }).await));
            }
            published
        }));
    }
    let mut transactions = Vec::new();
    for task in tasks {
        transactions.extend(task.await.unwrap());
    }
    let all: Vec<EventId> = transactions.iter().flatten().copied().map(EventId::from).collect();
    world.rpcs.until_done("Test/One", &all).await;
    let order: Vec<Uuid> = rows(&world).await.into_iter().map(|row| row.0).collect();
    assert_eq!(order.len(), all.len());
    for ids in transactions {
        let first = order.iter().position(|id| *id == ids[0]).unwrap();
        assert_eq!(order[first..first + ids.len()], ids, "a transaction's events are side by side");
    }
    world.finish().await;
}

/// Guards docs/publish.md: its code for each stack is an example of the library, which the compiler checks.
#[test]
fn the_document_shows_what_is_compiled() {
    let read = |file: &str| std::fs::read_to_string(testkit::process::root().join(file)).unwrap();
    let document = read("docs/publish.md");
    for module in ["tokio_postgres", "diesel", "diesel_async", "sea_orm", "row"] {
        let source = read(&format!("crates/outbox/src/{module}.rs"));
        let comments = source.lines().filter_map(|line| line.strip_prefix("//"));
        let lines = comments.map(|line| line.trim_start_matches(['/', '!']).strip_prefix(' ').unwrap_or(""));
        let example = lines.skip_while(|line| *line != "```no_run").skip(1).take_while(|line| *line != "```");
        let shown: Vec<_> = example.filter(|line| !line.starts_with("# ")).collect();
        assert!(shown.len() > 5, "{module} has no example");
        let shown = shown.join("\n");
        assert!(document.contains(shown.trim()), "docs/publish.md does not show what {module} has:\n{shown}");
    }
}
