use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use connectrpc::ConnectError;
use event::EventId;
use serde_json::{Value, json};
use testkit::process::Process;

use super::cloud::{Cloud, cloud};
use crate::operate::{Said, paste};
use crate::world::{Rpcs, World, programs, until};

const ROUTER: &str = "
event:
  - name: event_operate
    subscriber:
      - id: Test/Operate
";
/// No worker receives from its queue.
const LYING: &str = "
event:
  - name: event_lying
    subscriber:
      - id: Test/Lying
";

/// The line as an operator sees it, with or without its database.
struct Desk<'a> {
    world: &'a World,
    env: Vec<(&'a str, &'a str)>,
    router: String,
}

impl<'a> Desk<'a> {
    fn new(world: &'a World, cloud: &'a Cloud) -> Self {
        Self { world, env: cloud.environment(), router: world.router_file.display().to_string() }
    }

    /// What needs AWS alone is asked without the database.
    async fn outbox(&self, args: &str) -> Said {
        self.paste(&format!("outbox {args}")).await
    }

    async fn paste(&self, line: &str) -> Said {
        let mut env = self.env.clone();
        env.push(("OUTBOX_ROUTER", &self.router));
        paste(&env, line).await
    }

    async fn with_database(&self, line: &str) -> Said {
        let mut env = self.env.clone();
        env.extend([("OUTBOX_ROUTER", self.router.as_str()), ("DATABASE_URL", self.world.url.as_str())]);
        paste(&env, line).await
    }

    async fn letters(&self, filter: &str) -> Vec<Value> {
        let said = self.outbox(&format!("dlq list --format json {filter}")).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.json().as_array().unwrap().clone()
    }
}

async fn publish(world: &World, n: i64) -> EventId {
    let id: uuid::Uuid = sqlx::query_scalar("select outbox.enqueue('event_operate', $1, 'key-1')")
        .bind(format!("{{\"n\":{n}}}"))
        .fetch_one(&world.pool)
        .await
        .unwrap();
    id.into()
}

/// Guards promise 8 on AWS: what is dead is counted, listed with its reason, shown, redriven, redriven by force and dropped,
/// without the database; what is put back can be seen at once; replay and `why` work as on Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_on_aws() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(ROUTER).await;
    let desk = Desk::new(&world, cloud);
    let mut env = cloud.environment();
    env.push(("DATABASE_URL", &world.url));
    let relay = Process::start(&programs().join("relay"), ["--metrics-addr", "127.0.0.1:0"], &env).unwrap();
    let endpoints = world.endpoints();
    let mut args = vec!["--router", &desk.router, "--metrics-addr", "127.0.0.1:0", "--visibility", "3s"];
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let worker = Process::start(&programs().join("worker"), args, &cloud.environment()).unwrap();

    world.rpcs.on("Test/Operate", |called| {
        let n = crate::operate::n(called);
        Box::pin(
            async move { if n == 13 { Err(ConnectError::invalid_argument("no such card")) } else { Ok(()) } },
        )
    });
    let done = publish(&world, 1).await;
    let dead = [publish(&world, 13).await, publish(&world, 13).await, publish(&world, 13).await];
    world.rpcs.until_done("Test/Operate", &[done]).await;
    until("they are dead", async || desk.letters("").await.len() == 3).await;

    let status = desk.with_database("outbox status --format json").await;
    assert_eq!(
        (status.code, status.json()["sources"][0]["waiting_events"].as_i64()),
        (1, Some(0)),
        "{status:?}"
    );
    let alone = desk.outbox("status").await;
    assert!(
        alone.out.contains("3 dead letters of Test/Operate: outbox dlq list --rpc Test/Operate"),
        "{alone:?}"
    );
    assert!(
        alone.out.contains("No database given") && alone.out.contains("outbox-undeliverable"),
        "{alone:?}"
    );

    // Looked at twice in a row: what was looked at is not hidden.
    let listed = desk.letters("--code invalid_argument").await;
    assert_eq!(desk.letters("").await.len(), 3);
    assert!(
        listed
            .iter()
            .all(|letter| letter["reason"] == "no such card" && letter["event_name"] == "event_operate")
    );
    assert_eq!(desk.letters(&format!("--event {}", dead[1])).await.len(), 1);
    assert_eq!(desk.letters("--limit 2").await.len(), 2);
    assert_eq!(desk.letters("--older-than 1h").await.len(), 0);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = desk.outbox(&format!("dlq show {id} --payload --format json")).await;
    assert_eq!(
        (&shown.json()["payload"], &shown.json()["key"]),
        (&json!({"n": 13}), &json!("key-1")),
        "{shown:?}"
    );

    // Mended: one redriven, one dropped, one redriven as the list says.
    assert_eq!(desk.outbox("dlq redrive --all --dry-run").await.out, "would redrive 3 dead letters");
    world.rpcs.on("Test/Operate", |_| Box::pin(async { Ok(()) }));
    // Without the record, too: it is only asked for what is worth knowing.
    let args = format!("dlq redrive --event {} --rpc Test/Operate --dedup-table nowhere", dead[0]);
    let redriven = desk.outbox(&args).await;
    assert!(redriven.code == 0 && redriven.out.starts_with("redriven 1 dead letter\n"), "{redriven:?}");
    assert!(redriven.out.contains("the record can't be asked"), "{redriven:?}");
    assert_eq!(
        desk.outbox(&format!("dlq drop --yes --event {}", dead[1])).await.out,
        "dropped 1 dead letter"
    );
    let list = desk.outbox("dlq list").await;
    assert_eq!(desk.paste(&list.command("outbox dlq redrive")).await.out, "redriven 1 dead letter");
    world.rpcs.until_done("Test/Operate", &[dead[0], dead[2]]).await;
    assert!(desk.letters("").await.is_empty());
    assert_eq!(world.rpcs.calls_of(dead[1]).len(), 1);

    // Who did that is found again, without a scan and without a router; other tests' repairs stand there, too.
    let kept = desk.outbox("audit --format json --limit 1000 --router nowhere.yaml").await.json();
    let kept = kept.as_array().unwrap();
    let of_drop = format!("dlq drop --yes --event {}", dead[1]);
    let found: Vec<_> =
        kept.iter().filter(|one| one["command"].as_str().unwrap().contains(&of_drop)).collect();
    assert_eq!(found.len(), 1, "{kept:?}");
    assert_eq!([&found[0]["source"], &found[0]["role"]], [&json!("dynamodb"), &json!(null)]);
    assert_eq!(found[0]["result"]["moved"], 1, "{found:?}");
    assert!(kept.is_sorted_by_key(|one| std::cmp::Reverse(one["at"].as_str().unwrap().to_owned())));
    let listed = desk.outbox("audit --limit 1").await;
    assert!(listed.code == 0 && listed.out.contains("outbox dlq"), "{listed:?}");

    // SQS moves what kills workers, and says nothing: that is said. What was done calls nobody, unless by force.
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let url =
        sqs.get_queue_url().queue_name("outbox-Test--Operate-dlq").send().await.unwrap().queue_url.unwrap();
    let body = format!(
        r#"{{"rpc":"Test/Operate","event":{{"id":"{done}","name":"event_operate","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":1}}}}}}"#
    );
    until("it is recorded", async || {
        desk.outbox(&format!("why {done} --format json")).await.json()["deliveries"][0]["state"] == "done"
    })
    .await;
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let letter = &desk.letters("").await[0];
    assert_eq!(
        [&letter["code"], &letter["reason"]],
        [&json!("redrive_policy"), &json!("received too often without being settled")]
    );
    let again = desk.outbox("dlq redrive --code redrive_policy").await;
    assert!(again.out.contains("1 of them had been done before"), "{again:?}");
    world.rpcs.forget();
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let calls = world.rpcs.calls_of(done).len();
    assert_eq!(calls, 1);
    let forced = desk.outbox("dlq redrive --all --force --yes").await;
    assert!(forced.out.contains("their RPC runs again"), "{forced:?}");
    world.rpcs.until_done("Test/Operate", &[done]).await;

    // The past, from the database into SQS.
    let why = desk.with_database(&format!("outbox why {}", dead[0])).await;
    assert!(why.code == 0 && why.out.contains("put       20") && why.out.contains("done      "), "{why:?}");
    let dry = desk.with_database("outbox replay --since 1h").await;
    assert!(dry.out.contains("To send 4 messages"), "{dry:?}");
    let sent = desk.with_database(&dry.command("outbox replay")).await;
    assert!(sent.out.contains("sent 4 messages\n  3 of them had been done before"), "{sent:?}");
    world.rpcs.until_done("Test/Operate", &[dead[1]]).await;
    let replayed = world.rpcs.calls_of(dead[1]).pop().unwrap();
    assert!(replayed.incoming.header("outbox-replay").starts_with("20"));
    assert_eq!(desk.outbox("replay --since 1h").await.code, 2, "it needs the database");

    // Held, until a person says that it is poison.
    world
        .rpcs
        .on("Test/Operate", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let mut refused = Vec::new();
    for n in 0..7 {
        refused.push(publish(&world, n).await);
    }
    let called = |rpcs: &Rpcs| refused.iter().all(|id| !rpcs.calls_of(*id).is_empty());
    world.rpcs.until("each was refused", called).await;
    until("four are dead", async || desk.letters("").await.len() == 4).await;
    let spoken = desk.outbox("poison --rpc Test/Operate --for 10m --yes").await;
    assert!(spoken.code == 0 && spoken.out.contains("is dead-lettered for 10m"), "{spoken:?}");
    until("all are dead", async || desk.letters("").await.len() == 7).await;
    for process in [relay, worker] {
        process.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards: `why` tells every state of a record on DynamoDB, redrive does not run into its own messages, and a call that is
/// under way is not forgotten by force.
#[tokio::test(flavor = "multi_thread")]
async fn records_on_dynamodb_are_told() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(LYING).await;
    let desk = Desk::new(&world, cloud);
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let now = Utc::now().timestamp_millis();
    let put = async |fields: &[(&str, Value)]| {
        let id = EventId::new();
        let attribute = |value: &Value| match value {
            Value::Number(number) => AttributeValue::N(number.to_string()),
            other => AttributeValue::S(other.as_str().unwrap().to_owned()),
        };
        let mut item: HashMap<String, AttributeValue> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), attribute(value))).collect();
        item.insert("id".into(), AttributeValue::S(format!("{id} Test/Lying")));
        item.entry("expires_at".into()).or_insert(AttributeValue::N((now / 1000 + 1000).to_string()));
        dynamodb.put_item().table_name("outbox-dedup").set_item(Some(item)).send().await.unwrap();
        id
    };
    let why = async |id| {
        let said = desk.outbox(&format!("why {id} --format json")).await;
        (said.code, said.json()["deliveries"][0].clone())
    };
    let failure = [
        ("attempt", json!(3)),
        ("code", json!("unavailable")),
        ("error", json!("down")),
        ("at_ms", json!(now)),
    ];
    let with = |state: &str| [&failure[..], &[("state", json!(state))]].concat();

    let (code, told) = why(put(&with("failed")).await).await;
    assert_eq!(
        (code, &told["state"], &told["attempt"], &told["error"]),
        (0, &json!("failed"), &json!(3), &json!("down"))
    );
    let dead = put(&with("dead")).await;
    let (code, told) = why(dead).await;
    assert_eq!((code, &told["state"], &told["reason"]), (1, &json!("dead"), &json!("down")));
    let said = desk.outbox(&format!("why {dead}")).await;
    assert!(said.out.contains(&format!("outbox dlq redrive --event {dead} --rpc Test/Lying")), "{said:?}");
    assert!(said.out.contains("No database given"), "{said:?}");
    let (code, told) = why(put(&[("state", json!("done")), ("at_ms", json!(now))]).await).await;
    assert_eq!((code, &told["state"]), (0, &json!("done")));
    let lease =
        |until: i64| [("state", json!("leased")), ("token", json!(7)), ("leased_until_ms", json!(until))];
    let called = put(&lease(now + 600_000)).await;
    assert_eq!(why(called).await.1["state"], "calling");
    assert_eq!(why(put(&lease(now - 1000)).await).await.1["state"], "abandoned");
    let expired = put(&[("state", json!("done")), ("expires_at", json!(1))]).await;
    assert_eq!(
        why(expired).await,
        (0, json!({"source": "sqs", "rpc": "Test/Lying", "state": "not_received"}))
    );

    // More than one page, one of them under way.
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let url =
        sqs.get_queue_url().queue_name("outbox-Test--Lying-dlq").send().await.unwrap().queue_url.unwrap();
    for n in 0..25 {
        let id = if n == 0 { called } else { EventId::new() };
        let body = format!(
            r#"{{"rpc":"Test/Lying","event":{{"id":"{id}","name":"event_operate","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{}}}}}}"#
        );
        sqs.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    let none = desk.outbox(&format!("dlq redrive --event {}", EventId::new())).await;
    assert_eq!(none.out, "redriven 0 dead letters");
    let forced = desk.outbox("dlq redrive --all --force --yes --rate 1000 --format json").await;
    assert_eq!(
        (forced.code, &forced.json()["moved"], &forced.json()["busy"]),
        (1, &json!(24), &json!(1)),
        "{forced:?}"
    );
    let depth = desk.outbox("status --format json").await.json()["rpcs"][0].clone();
    assert_eq!([&depth["waiting"], &depth["dead"]], [&json!(24), &json!(1)], "{depth}");
    assert_eq!(desk.outbox("dlq drop --all --yes").await.out, "dropped 1 dead letter");
    sqs.purge_queue().queue_url(url.trim_end_matches("-dlq")).send().await.unwrap();
    world.finish().await;
}

/// Guards: what keeps AWS from answering is told with its remedy.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_on_aws_is_told() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(LYING).await;
    let desk = Desk::new(&world, cloud);
    let missing = desk.outbox("status --queue-prefix nowhere- --format json").await;
    assert_eq!(
        missing.json()["rpcs"][0]["missing"],
        "there is no queue 'nowhere-Test--Lying' here",
        "{missing:?}"
    );
    assert_eq!(missing.json()["problems"][0]["command"], "outbox doctor --queue-prefix nowhere-");
    let missing = desk.outbox("dlq redrive --rpc Test/Lying --queue-prefix nowhere-").await;
    assert!(missing.code == 1 && missing.err.contains("`terraform apply` makes it"), "{missing:?}");
    let bare = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("OUTBOX_TRANSPORT", "aws"),
        ("OUTBOX_ROUTER", &desk.router),
    ];
    let said = paste(&bare, "outbox status").await;
    assert!(said.code == 3 && said.err.contains("set AWS_REGION"), "{said:?}");
    let said = paste(&[&bare[..], &[("AWS_REGION", "us-east-1")]].concat(), "outbox status").await;
    assert!(said.code == 3 && said.err.contains("AWS_PROFILE"), "{said:?}");
    let away = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let said = paste(&[&bare[..], &away].concat(), "outbox status").await;
    assert!(said.code == 3 && said.err.contains("AWS_ENDPOINT_URL"), "{said:?}");
    world.finish().await;
}

/// Guards: `doctor` finds that Terraform made what event_router.yaml asks for, and names each thing that is missing, is
/// superfluous or was changed by hand.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_compares_aws_with_the_routes() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&super::cloud::router()).await;
    let desk = Desk::new(&world, cloud);
    let look = async |args: &str| {
        let said = desk.outbox(&format!("doctor --format json {args}")).await;
        let of = |finding: &Value| {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("severity"), text("place"), text("message"))
        };
        let found: Vec<String> = said.json()["findings"].as_array().unwrap().iter().map(of).collect();
        (said.code, found)
    };
    let finds = |found: &[String], begins: &str| {
        assert!(found.iter().any(|finding| finding.starts_with(begins)), "no `{begins}` in {found:#?}");
    };

    let (code, found) = look("").await;
    assert_eq!(code, 0, "{found:#?}");
    assert!(
        found.iter().all(|finding| finding.starts_with("ok ") || finding.starts_with("skipped ")),
        "{found:#?}"
    );
    for begins in [
        "ok aws: region us-east-1",
        "ok bus outbox: ",
        "ok queue outbox-Test--One: there, with its dead-letter queue",
        "ok queue outbox-undeliverable: empty",
        "ok event_two -> Other/TwoB: its rule sends to its queue",
        "ok table outbox-dedup: there, with its key and time to live",
    ] {
        finds(&found, begins);
    }

    // Named wrongly.
    finds(&look("--bus nowhere").await.1, "error bus nowhere: there is none");
    finds(&look("--dedup-table nowhere").await.1, "error table nowhere: there is none");
    finds(
        &look("--queue-prefix nowhere-").await.1,
        "error queue nowhere-Test--One: there is none, and Test/One needs it",
    );

    // Drift, in both directions.
    let more = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }, { id: Test/New }]\n";
    std::fs::write(&world.router_file, more).unwrap();
    let (code, found) = look("").await;
    assert_eq!(code, 1);
    finds(&found, "error queue outbox-Test--New: there is none");
    finds(&found, "error event_one -> Test/New: there is no rule event_one--Test--New");
    finds(&found, "warning queue outbox-Other--TwoB: no route of event_router.yaml needs it");
    finds(&found, "warning rule event_two--Other--TwoB: no route of event_router.yaml needs it");

    // Changed by hand.
    std::fs::write(&world.router_file, LYING).unwrap();
    let events = aws_sdk_eventbridge::Client::new(&cloud.sdk());
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let url = sqs.get_queue_url().queue_name("outbox-Test--Lying").send().await.unwrap().queue_url.unwrap();
    let (rule, policy) = ("event_lying--Test--Lying", aws_sdk_sqs::types::QueueAttributeName::Policy);
    events.disable_rule().event_bus_name("outbox").name(rule).send().await.unwrap();
    finds(&look("").await.1, "error event_lying -> Test/Lying: rule event_lying--Test--Lying is disabled");
    events.enable_rule().event_bus_name("outbox").name(rule).send().await.unwrap();
    let nobody = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:events:us-east-1:000000000000:rule/other/*"}}}]}"#;
    sqs.set_queue_attributes().queue_url(&url).attributes(policy, nobody).send().await.unwrap();
    finds(&look("").await.1, "error queue outbox-Test--Lying: its policy does not let EventBridge send");
    let target = events.list_targets_by_rule().event_bus_name("outbox").rule(rule).send().await.unwrap();
    let target = target.targets()[0].clone();
    let bare =
        aws_sdk_eventbridge::types::Target::builder().id(target.id()).arn(target.arn()).build().unwrap();
    events.put_targets().event_bus_name("outbox").rule(rule).targets(bare).send().await.unwrap();
    finds(
        &look("").await.1,
        "error event_lying -> Test/Lying: rule event_lying--Test--Lying does not write the message",
    );
    events.remove_targets().event_bus_name("outbox").rule(rule).ids(target.id()).send().await.unwrap();
    finds(
        &look("").await.1,
        "error event_lying -> Test/Lying: rule event_lying--Test--Lying does not send to the queue",
    );

    // Another table.
    use aws_sdk_dynamodb::types as table;
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let key = table::KeySchemaElement::builder()
        .attribute_name("pk")
        .key_type(table::KeyType::Hash)
        .build()
        .unwrap();
    let text = table::AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(table::ScalarAttributeType::S);
    dynamodb
        .create_table()
        .table_name("another")
        .key_schema(key)
        .attribute_definitions(text.build().unwrap())
        .billing_mode(table::BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    let (_, found) = look("--dedup-table another").await;
    finds(&found, "error table another: its key is not `id`, a text");
    finds(&found, "warning table another: time to live by `expires_at` is off");
    world.finish().await;
}
