//! Dead letters are summed up, and events found by what they are about.

use connectrpc::ConnectError;
use outbox::Entry;
use serde_json::json;

use super::hands::{Operator, card, events};
use crate::operator::{ROUTER, misbehave, n};
use crate::world::{One, World};

/// Guards promise 8: thousands of dead letters are a few groups, each with its number and its commands. Letters are found by key,
/// name, header and reason.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_summed_up() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            match n {
                1..100 => Ok(()),
                _ => Err(ConnectError::invalid_argument(format!("no card {n}"))),
            }
        })
    });
    world.relay();
    world.worker();
    let mut ids = Vec::new();
    for number in [101, 102, 103] {
        ids.push(world.publish_all([card(number, "t-1")]).await[0]);
        // A success in between: else the RPC would be held.
        let good = world.publish(One { n: 1 }).await;
        world.rpcs.until_done("Test/One", &[good]).await;
    }
    world.until("select count(*) = 3 from outbox.dead_letter").await;
    world
        .execute(&format!(
            "update outbox.dead_letter set reason = 'a bug: pool is empty' where event_id = '{}'",
            ids[2]
        ))
        .await;
    let operator = Operator::of(&world).await;
    let sum = operator.json("dlq summary").await;
    assert_eq!((&sum["letters"], &sum["read_all"]), (&json!(3), &json!(true)), "{sum}");
    let groups = sum["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| &group["count"]).collect::<Vec<_>>(), [&json!(2), &json!(1)]);
    assert!(groups[0]["reason"].as_str().unwrap().ends_with("no card N"), "{sum}");
    assert_eq!(groups[0]["sample_event"], json!(ids[1]), "{sum}");
    assert_eq!(operator.json("dlq summary --since 0s").await["letters"], json!(0));
    let told = operator.run("dlq summary --rpc Test/One").await;
    assert!(told.out.contains("3 dead letters in 2 groups"), "{told:?}");

    for (filter, count) in [
        ("--key card-101", 1),
        ("--key card-1", 0),
        ("--header tenant=t-1", 3),
        ("--name event_one --reason 'pool is'", 1),
        ("--reason card", 2),
        ("--limit 2", 2),
    ] {
        let listed = operator.json(&format!("dlq list {filter}")).await;
        assert_eq!(listed.as_array().unwrap().len(), count, "{filter}: {listed}");
    }
    let newest = operator.json("dlq list").await;
    assert_eq!(newest[0]["event"], json!(ids[2]), "{newest}");
    let shown = operator.json("dlq show --key card-102").await;
    assert_eq!(shown["event"], json!(ids[1]), "{shown}");
    let command = groups[1]["redrive"].as_str().unwrap();
    assert!(command.contains("--reason"), "{command}");
    let one = operator.run(&format!("{} --dry-run", &command["outbox ".len()..])).await;
    assert_eq!(one.out, "would redrive 1 dead letter", "{one:?}");
    let few = operator.run("dlq drop --limit 1 --newest --yes").await;
    assert_eq!(few.out, "dropped 1 dead letter", "{few:?}");
    assert_eq!(operator.json("dlq list").await.as_array().unwrap().len(), 2);
    world.finish().await;
}

/// Guards promise 8: the events of a card, a tenant or a name are found, the newest first, also parked and dead ones, without
/// their payloads.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_what_they_are_about() {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    world.relay();
    world.worker();
    let good = world.publish_all([card(1, "t-1")]).await[0];
    let dead = world.publish_all([Entry::new(One { n: 13 }).key("card-1").header("tenant", "t-2")]).await[0];
    let parked = crate::operator::publish_malformed(&world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    let operator = Operator::of(&world).await;
    let found = operator.json("find --key card-1 --since 1h").await;
    assert_eq!(events(&found["events"]), [dead.to_string(), good.to_string()], "{found}");
    assert_eq!(
        (&found["more"], &found["whole"], &found["outbox_searched"]),
        (&json!(false), &json!(true), &json!(true))
    );
    assert_eq!(
        (&found["events"][0]["dead"], &found["events"][1]["dead"]),
        (&json!(["Test/One"]), &json!([]))
    );
    assert!(!found.to_string().contains("\"n\""), "a payload: {found}");
    for (filter, expected) in [
        ("--key card-1 --limit 1", vec![dead]),
        ("--header tenant=t-1", vec![good]),
        ("--name event_one --key key-9", vec![parked]),
        ("--key card-1 --until 1h --since 2h", vec![]),
        ("--key card", vec![]),
    ] {
        let found = operator.json(&format!("find {filter}")).await;
        assert_eq!(
            events(&found["events"]),
            expected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "{filter}"
        );
    }
    let found = operator.json("find --key key-9").await;
    assert_eq!(found["events"][0]["parked"], true, "{found}");
    assert_eq!(operator.json("find --key card-1 --limit 1").await["more"], true);
    // A dead letter is found after its event has left the outbox.
    world.execute("delete from outbox.event").await;
    assert_eq!(events(&operator.json("find --key card-1").await["events"]), [dead.to_string()]);
    // Letters of other times that died later do not hide it.
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select l.seq + n, l.queue, k.id, regexp_replace(replace(l.body, l.event_id::text, k.id::text),
                    '\"occurred_at\":\"[0-9]{4}', '\"occurred_at\":\"2020'), l.enqueued_at, 1, 'internal', 'old'
             from outbox.dead_letter as l, generate_series(1, 3) as n, lateral (select outbox.uuid_v7() as id where n > 0) as k",
        )
        .await;
    assert_eq!(events(&operator.json("find --key card-1 --limit 1").await["events"]), [dead.to_string()]);
    let nothing = operator.run("find").await;
    assert!(nothing.code == 2 && nothing.err.contains("pass --key"), "{nothing:?}");
    world.finish().await;
}
