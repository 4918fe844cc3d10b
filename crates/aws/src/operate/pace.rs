//! The rate of a repair, in the item of its progress.

use aws_sdk_dynamodb::types::AttributeValue;
use outbox_transport::operate::{Asked, Audit, Change, OperateError, Paced, Standing};
use uuid::Uuid;

use super::job::{RATE, job_key};
use super::{AwsOperator, trouble};
use crate::Failure;

impl Paced for AwsOperator {
    async fn pace(&self, id: Uuid, who: &str, change: Change) -> Result<Asked, OperateError> {
        let Some(kept) = self.find(id).await? else { return Ok(Asked::Unknown) };
        if kept.ended {
            return Ok(Asked::Over);
        }
        if kept.standing() != Standing::Running {
            return Ok(Asked::Silent);
        }
        if let Some(progress) = &kept.progress {
            change.check(&progress.speed)?;
        }
        let who = AttributeValue::S(who.to_owned());
        // No command reads a new item.
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(job_key(id)))
            .condition_expression("attribute_exists(id)");
        let update = match change {
            Change::Rate(rate) => update
                .update_expression(format!("set {RATE} = :rate, rate_by = :who"))
                .expression_attribute_values(":rate", AttributeValue::N(rate.to_string()))
                .expression_attribute_values(":who", who),
            Change::Pause => update
                .update_expression("set paused_by = if_not_exists(paused_by, :who)")
                .expression_attribute_values(":who", who),
            Change::Resume => update.update_expression("remove paused_by"),
        };
        update.send().await.map_err(|error| trouble("DynamoDB", &Failure::of(&error)))?;
        Ok(Asked::Asked)
    }
}
