use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    KeySchemaElement, KeyType, ScalarAttributeType, TableStatus, TimeToLiveStatus,
};
use outbox_aws::Failure;
use outbox_aws::operate::{EXPIRY_ATTRIBUTE, KEY_ATTRIBUTE};

use super::unseen::unseen;
use crate::doctor::diagnosis::Diagnosis;

/// The dedup table: without it nothing is called.
pub(super) async fn look(client: &Client, name: &str, findings: &mut Vec<Diagnosis>) {
    let place = format!("table {name}");
    let table = match client.describe_table().table_name(name).send().await {
        Ok(answer) => answer.table,
        Err(error) => {
            findings.push(match Failure::of(&error) {
                failure if failure.code == "ResourceNotFoundException" => Diagnosis::error(
                    &place,
                    "there is none: the worker calls no RPC without it",
                    "`terraform apply` makes it; see --dedup-table (OUTBOX_DEDUP_TABLE), AWS_REGION and the account",
                ),
                failure => unseen(&place, &failure, "dynamodb:DescribeTable"),
            });
            return;
        }
    };
    let Some(table) = table else { return };
    let before = findings.len();
    let is_key =
        |key: &KeySchemaElement| key.attribute_name() == KEY_ATTRIBUTE && *key.key_type() == KeyType::Hash;
    let of_text = table.attribute_definitions().iter().any(|attribute| {
        attribute.attribute_name() == KEY_ATTRIBUTE && *attribute.attribute_type() == ScalarAttributeType::S
    });
    if table.key_schema().len() != 1 || !table.key_schema().iter().all(is_key) || !of_text {
        let hint = "is it another table? see --dedup-table; `terraform apply` makes the right one";
        findings.push(Diagnosis::error(&place, format!("its key is not `{KEY_ATTRIBUTE}`, a text"), hint));
    }
    if let Some(status) = table.table_status().filter(|status| **status != TableStatus::Active) {
        findings.push(Diagnosis::warning(
            &place,
            format!("it is {}", status.as_str()),
            "wait until it is ACTIVE",
        ));
    }
    match client.describe_time_to_live().table_name(name).send().await {
        Ok(answer) => {
            let expires = answer.time_to_live_description();
            let on = expires.is_some_and(|ttl| {
                ttl.attribute_name() == Some(EXPIRY_ATTRIBUTE)
                    && matches!(
                        ttl.time_to_live_status(),
                        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                    )
            });
            if !on {
                let hint = "`terraform apply` turns it on";
                findings.push(Diagnosis::warning(
                    &place,
                    format!("time to live by `{EXPIRY_ATTRIBUTE}` is off: it grows for ever"),
                    hint,
                ));
            }
        }
        Err(error) => findings.push(unseen(&place, &Failure::of(&error), "dynamodb:DescribeTimeToLive")),
    }
    if findings.len() == before {
        findings.push(Diagnosis::ok(&place, "there, with its key and time to live"));
        findings.push(match outbox_aws::may_complete_batches(client, name).await {
            Ok(()) => Diagnosis::ok(
                &place,
                "this role may complete records in batches (dynamodb:PartiQLUpdate). Whether it may claim them so \
                 (dynamodb:PartiQLInsert) was not tried, because that would write a record",
            ),
            Err(failure) if failure.code.starts_with("AccessDenied") => Diagnosis::skipped(
                &place,
                "this role may not complete records in batches, and to claim them so was not tried",
                "a worker's role needs dynamodb:PartiQLInsert and dynamodb:PartiQLUpdate: `terraform apply` allows them",
            ),
            Err(failure) => unseen(&place, &failure, "dynamodb:PartiQLUpdate"),
        });
    }
}
