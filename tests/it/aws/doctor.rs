//! Resources on AWS that are missing, or differ from event_router.yaml.

use serde_json::Value;

use super::desk::{Desk, LYING};
use crate::cloud::cloud;
use crate::operator::paste;
use crate::world::World;

/// Guards: each reason why AWS can't be reached is reported with its remedy.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_aws_lacks() {
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

/// Guards: `doctor` finds nothing wrong with what Terraform made of event_router.yaml. It names each resource that is
/// missing, superfluous, or was changed by hand.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_compares_aws_with_the_routes() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&crate::cloud::router()).await;
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
        "ok table outbox-dedup: this role may complete records in batches (dynamodb:PartiQLUpdate). Whether",
    ] {
        finds(&found, begins);
    }

    // A wrong name.
    finds(&look("--bus nowhere").await.1, "error bus nowhere: there is none");
    finds(&look("--dedup-table nowhere").await.1, "error table nowhere: there is none");
    finds(
        &look("--queue-prefix nowhere-").await.1,
        "error queue nowhere-Test--One: there is none, and Test/One needs it",
    );

    // Differences in both directions.
    let more = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }, { id: Test/New }]\n";
    std::fs::write(&world.router_file, more).unwrap();
    let (code, found) = look("").await;
    assert_eq!(code, 1);
    finds(&found, "error queue outbox-Test--New: there is none");
    finds(&found, "error event_one -> Test/New: there is no rule event_one--Test--New");
    finds(&found, "warning queue outbox-Other--TwoB: no route of event_router.yaml needs it");
    finds(&found, "warning rule event_two--Other--TwoB: no route of event_router.yaml needs it");

    // A change by hand.
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
