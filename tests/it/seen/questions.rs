//! Mistyped filters are mistakes, and irreversible commands say how much they would change.

use connectrpc::ConnectError;
use outbox::Entry;

use crate::operator::{ROUTER, misbehave, outbox, paste, publish_malformed};
use crate::world::{One, World};

/// Guards promise 8: a filter that can match nothing is a mistake with the nearest known word, on every command. No audit
/// entry is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_filter_is_a_mistake() {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    world.relay();
    world.worker();
    world.publish(One { n: 13 }).await;
    publish_malformed(&world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    for (command, meant) in [
        ("dlq list --rpc Test/Oen", "Test/One"),
        ("dlq show 1 --rpc Test/Oen", "Test/One"),
        ("dlq redrive --rpc Test/Oen", "Test/One"),
        ("dlq redrive --rpc Test/Oen --dry-run", "Test/One"),
        ("dlq redrive --rpc Test/Oen --force --yes", "Test/One"),
        ("dlq drop --rpc Test/Oen --yes", "Test/One"),
        ("poison --rpc Test/Oen --yes", "Test/One"),
        ("replay --since 1h --rpc Test/Oen", "Test/One"),
        ("queue list --rpc Test/Oen", "Test/One"),
        ("queue list --code unavailible", "unavailable"),
        ("queue list --name event_on", "event_one"),
        ("queue retry --rpc Test/Oen --all", "Test/One"),
        ("queue retry --rpc Test/One --name event_on", "event_one"),
        ("queue give-up --rpc Test/Oen --all", "Test/One"),
        ("queue give-up --rpc Test/One --code intrnal", "internal"),
        ("queue move --from Test/Oen --to Test/Slow", "Test/One"),
        ("queue move --from Test/One --to Test/Slwo", "Test/Slow"),
        ("queue drop --rpc Test/Oen --yes", "Test/One"),
        ("find --name event_on", "event_one"),
        ("dlq summary --rpc Test/Oen", "Test/One"),
        ("dlq list --name event_on", "event_one"),
        ("dlq redrive --name event_on", "event_one"),
        ("dlq list --code invalid_arg", "invalid_argument"),
        ("dlq redrive --code invalid_argumnt", "invalid_argument"),
        ("dlq drop --code unavailible --yes", "unavailable"),
        ("parked list --code MalformdDetail", "MalformedDetail"),
        ("parked retry --code MalformdDetail", "MalformedDetail"),
        ("parked drop --code EntryToLarge --yes", "EntryTooLarge"),
        ("parked list --event-name event_on", "event_one"),
        ("parked drop --event-name event_on --yes", "event_one"),
        ("replay --since 1h --event-name event_on", "event_one"),
        ("replay --since 1h --event-name event_on --run", "event_one"),
    ] {
        let said = outbox(&world, command).await;
        assert!(
            said.code == 2 && said.err.contains(&format!("did you mean {meant}?")),
            "{command}: {said:?}"
        );
    }
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.audit").await, 0);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 1);

    // Nothing is near: the known ones are listed.
    let said = outbox(&world, "dlq list --rpc Cards/Block").await;
    assert!(said.code == 2 && said.err.contains("Test/One"), "{said:?}");
    let said = outbox(&world, "dlq drop --code zzz --yes").await;
    assert!(said.code == 2 && said.err.contains("invalid_argument"), "{said:?}");
    // Without a router the queues of the database are known.
    let said = paste(&[("DATABASE_URL", &world.url)], "cd / && outbox dlq redrive --rpc Test/Oen").await;
    assert!(said.code == 2 && said.err.contains("did you mean Test/One?"), "{said:?}");

    // A word is known by a queue, a letter or an event that has it, though no file has it.
    world.execute("insert into outbox.queue (rpc) values ('Old/Gone')").await;
    world.execute("update outbox.dead_letter set code = 'of_a_newer_worker'").await;
    world.execute("update outbox.parked set name = 'event_unheard', code = 'OfANewerBus'").await;
    world.execute("update outbox.event set name = 'event_unheard' where key is null").await;
    for command in [
        "dlq list --rpc Old/Gone",
        "dlq redrive --code of_a_newer_worker --dry-run",
        "dlq list --code unavailable",
        "parked list --code OfANewerBus",
        "parked list --event-name event_unheard",
        "replay --since 1h --event-name event_unheard",
        "replay --since 1h --event-name event_two",
    ] {
        let said = outbox(&world, command).await;
        assert_eq!(said.code, 0, "{command}: {said:?}");
    }
    world.finish().await;
}

/// Guards promise 8: a question before an irreversible command has the number, the oldest, and a sample. So has one before
/// many letters are redriven, which `--yes` skips.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_says_how_much_it_is_about() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    world.relay();
    world.worker();
    let ids = world.publish_all((0..3).map(|_| Entry::new(One { n: 13 }))).await;
    publish_malformed(&world).await;
    world.until("select count(*) = 3 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    world
        .execute(&format!(
            "update outbox.dead_letter set dead_at = now() - interval '2 hours' where event_id = '{}'",
            ids[1]
        ))
        .await;
    let oldest = format!(": event {} (no such card)", ids[1]);
    for (command, words) in [
        (
            "dlq drop --all",
            vec![
                "drops 3 dead letters",
                "3 of Test/One with invalid_argument; the oldest is dead for 2h",
                &oldest,
            ],
        ),
        ("dlq drop --rpc Test/One --older-than 1h", vec!["drops 1 dead letter", &oldest, "no such card"]),
        ("dlq redrive --all --force", vec!["3 dead letters", "forgotten", &oldest]),
        (
            "parked drop --all",
            vec!["drops 1 parked event", "1 of event_one with MalformedDetail", "is parked for "],
        ),
        (
            "replay --since 1h --force --run",
            vec!["3 messages", "forgotten", "3 of event_one to Test/One", &ids[0].to_string()],
        ),
        ("poison --rpc Test/One", vec!["Test/One", "0 messages wait"]),
    ] {
        let said = outbox(&world, command).await;
        assert!(said.code == 2 && said.err.contains("pass --yes"), "{command}: {said:?}");
        for words in words {
            assert!(said.err.contains(words), "{words}: {command}: {said:?}");
        }
    }
    // Few are redriven unasked.
    assert_eq!(outbox(&world, "dlq redrive --all").await.code, 0);
    world.until_settled().await;
    world.until("select count(*) = 3 from outbox.dead_letter").await;
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select nextval('outbox.delivery_seq'), queue, gen_random_uuid(), body, enqueued_at, attempts, 'internal', 'a bug'
             from outbox.dead_letter, generate_series(1, 40)",
        )
        .await;
    let said = outbox(&world, "dlq redrive --all").await;
    assert!(said.code == 2 && said.err.contains("redrives 123 dead letters"), "{said:?}");
    assert!(
        said.err.contains("120 of Test/One with internal") && said.err.contains("pass --yes"),
        "{said:?}"
    );
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 123);
    assert_eq!(outbox(&world, "dlq redrive --all --dry-run").await.code, 0);
    let said = outbox(&world, "dlq redrive --all --yes --rate 10000 --format json").await;
    assert_eq!((said.code, said.json()["moved"].as_i64()), (0, Some(123)), "{said:?}");
    world.finish().await;
}
