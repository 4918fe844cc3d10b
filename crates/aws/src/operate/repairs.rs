//! Repairs of many things: each has an item with its progress, beside its entry in the audit.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Asked, Audit, Clocked, Deliveries, Fates, Heard, Job, Kept, OperateError, Progress, Reached, Repair,
    Repairs, Standing, Started, State,
};
use uuid::Uuid;

use super::audit::kept_for;
use super::job::{RATE, job_key, progress, speed};
use super::records::text;
use super::{AwsOperator, TOGETHER, trouble};
use crate::Failure;

/// A repair that runs for longer keeps no other away.
const RUNNING_HOURS: i64 = 7 * 24;
const RUNNING_MAX: usize = 10_000;
/// So many deliveries are asked about with each beat.
const FATES_MAX: usize = 100;

impl Clocked for AwsOperator {
    /// An answer of DynamoDB has its time. Without one, it is the clock of this machine: letters can be moved without the table.
    async fn now(&self) -> Result<DateTime<Utc>, OperateError> {
        if let Err(stopped) = self.items_of(&[job_key(Uuid::nil())]).await {
            (self.say)(&format!("warning: the time of DynamoDB is not known: {}", stopped.problem));
        }
        Ok(self.clock.now())
    }
}

impl Repairs for AwsOperator {
    /// Of two that start at the same time, both write first and look second. So at least one sees the other, and each that sees
    /// another withdraws. Both may. The older one must not stay: the other may have looked before it was written.
    async fn start(&self, repair: &Repair, job: &Job, undoable: bool) -> Result<Started, OperateError> {
        let before = match job.continues {
            Some(id) => Some(self.find(id).await?.ok_or_else(|| continued_before(id))?),
            None => None,
        };
        let looked = self.running(job).await;
        // The answer has brought DynamoDB's time.
        let older = job.older_than.and_then(|age| TimeDelta::from_std(age).ok()).unwrap_or_default();
        let bound = job.bound.unwrap_or_else(|| self.clock.now() - older);
        match looked {
            Ok(mut others) if !job.also && !others.is_empty() => {
                return Ok(Started::InTheWay(Box::new(others.swap_remove(0))));
            }
            Err(stopped) if !undoable => return Err(stopped),
            Err(stopped) => {
                (self.say)(&format!("warning: who else repairs is not known: {}", stopped.problem));
                self.begin(repair, undoable).await?;
                return Ok(Started::Begun { bound });
            }
            Ok(_) => {}
        }
        let place = before.as_ref().and_then(|kept| kept.progress.as_ref()?.place.clone());
        match self.write_job(repair.id, job, bound, place).await {
            Err(stopped) if undoable => {
                (self.say)(&format!("warning: others don't see this repair: {}", stopped.problem));
            }
            written => written?,
        }
        self.begin(repair, undoable).await?;
        if !job.also
            && let Some(other) = self.other(repair, job, undoable).await?
        {
            return Ok(Started::InTheWay(Box::new(other)));
        }
        if let Some(before) = before
            && let Err(stopped) = self.go_on(before, repair.id).await
        {
            self.withdraw(repair, "failed", &stopped.problem).await?;
            return Err(stopped);
        }
        Ok(Started::Begun { bound })
    }

    async fn beat(&self, repair: &Repair, reached: &Reached) -> Result<Heard, OperateError> {
        let number = |n: i64| AttributeValue::N(n.to_string());
        let mut update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(job_key(repair.id)))
            .condition_expression("attribute_exists(id)")
            .expression_attribute_values(":beat", number(self.clock.now().timestamp_millis()))
            .expression_attribute_values(":reached", number(reached.reached))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        let mut sets = "set beat_ms = :beat, reached = :reached".to_owned();
        if let Some(total) = reached.total {
            sets.push_str(", total_count = :total");
            update = update.expression_attribute_values(":total", number(total));
        }
        if let Some(place) = &reached.place {
            sets.push_str(", place = :place");
            update = update.expression_attribute_values(":place", AttributeValue::S(place.clone()));
        }
        let answer = update.update_expression(sets).send().await;
        let item = answer.map_err(|error| trouble("DynamoDB", &Failure::of(&error)))?.attributes;
        let stop_by = item.as_ref().and_then(|item| text(item, "stop_by")).map(str::to_owned);
        let speed = item.as_ref().map(speed).unwrap_or_default();
        let fates = if reached.fates { Some(self.fates().await?) } else { None };
        Ok(Heard { stop_by, speed, fates })
    }

    async fn stop(&self, id: Uuid, who: &str) -> Result<Asked, OperateError> {
        let Some(kept) = self.find(id).await? else { return Ok(Asked::Unknown) };
        if kept.ended {
            return Ok(Asked::Over);
        }
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(job_key(id)))
            .update_expression("set stop_by = if_not_exists(stop_by, :who)")
            .expression_attribute_values(":who", AttributeValue::S(who.to_owned()));
        update.send().await.map_err(|error| trouble("DynamoDB", &Failure::of(&error)))?;
        if kept.standing() == Standing::Running {
            return Ok(Asked::Asked);
        }
        let Some(at) = kept.at.known() else { return Ok(Asked::Over) };
        let moved = kept.progress.map_or(0, |progress| progress.reached);
        let result = serde_json::json!({
            "moved": moved, "stopped": format!("it was silent, and was ended by {who}"),
        });
        let ended = Repair { id, at, who: kept.who, command: kept.command, result: Some(result.to_string()) };
        self.end(&ended).await?;
        Ok(Asked::Ended)
    }

    async fn take_back(&self, _: &Repair, _: Uuid) -> Result<Option<i64>, OperateError> {
        Ok(None)
    }
}

impl AwsOperator {
    /// The repairs that are in the way of a new one, oldest first.
    async fn running(&self, job: &Job) -> Result<Vec<Kept>, OperateError> {
        let mut kept = self.of_hours(RUNNING_HOURS, RUNNING_MAX).await?;
        kept.retain(|one| !one.ended);
        self.add_progress(&mut kept).await?;
        kept.retain(|one| {
            one.standing() == Standing::Running && one.progress.as_ref().is_some_and(|of| meets(job, of))
        });
        kept.reverse();
        Ok(kept)
    }

    /// One that has begun at the same moment. Then this one has ended.
    async fn other(&self, repair: &Repair, job: &Job, undoable: bool) -> Result<Option<Kept>, OperateError> {
        match self.running(job).await.map(|running| another(repair.id, running)) {
            Ok(None) => Ok(None),
            Ok(Some(other)) => {
                self.withdraw(repair, "stopped", "another had begun").await?;
                Ok(Some(other))
            }
            Err(stopped) if undoable => {
                (self.say)(&format!("warning: who else repairs is not known: {}", stopped.problem));
                Ok(None)
            }
            Err(stopped) => {
                self.withdraw(repair, "failed", &stopped.problem).await?;
                Err(stopped)
            }
        }
    }

    /// Nothing was moved by it.
    async fn withdraw(&self, repair: &Repair, how: &str, why: &str) -> Result<(), OperateError> {
        let result = serde_json::json!({"moved": 0, how: why});
        self.end(&Repair { result: Some(result.to_string()), ..repair.clone() }).await
    }

    /// Ends a repair that another one continues. Of two that continue it, one comes first.
    async fn go_on(&self, before: Kept, by: Uuid) -> Result<(), OperateError> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(job_key(before.id)))
            .condition_expression("attribute_exists(id) and attribute_not_exists(continued_by)")
            .update_expression("set continued_by = :by")
            .expression_attribute_values(":by", AttributeValue::S(by.to_string()));
        update.send().await.map_err(|error| {
            let error = Failure::of(&error);
            match error.code.as_str() {
                "ConditionalCheckFailedException" => continued_before(before.id),
                _ => trouble("DynamoDB", &error),
            }
        })?;
        let Some(at) = before.at.known() else { return Ok(()) };
        let moved = before.progress.map_or(0, |progress| progress.reached);
        let mut result = match before.result {
            Some(result) if result.is_object() => result,
            failed => serde_json::json!({"moved": moved, "failed": failed}),
        };
        result["continued_by"] = by.to_string().into();
        let Kept { id, who, command, .. } = before;
        let ended = Repair { id, at, who, command, result: Some(result.to_string()) };
        if let Err(stopped) = self.end(&ended).await {
            (self.say)(&format!("warning: the end of repair {id} is not in the audit: {}", stopped.problem));
        }
        Ok(())
    }

    async fn write_job(
        &self,
        id: Uuid,
        job: &Job,
        bound: DateTime<Utc>,
        place: Option<String>,
    ) -> Result<(), OperateError> {
        let number = |n: i64| AttributeValue::N(n.to_string());
        let mut item = HashMap::from([
            ("id".to_owned(), AttributeValue::S(job_key(id))),
            ("kind".to_owned(), AttributeValue::S(job.kind.to_string())),
            ("plan".to_owned(), AttributeValue::S(serde_json::Value::from(job.plan.clone()).to_string())),
            ("bound_ms".to_owned(), number(bound.timestamp_millis())),
            ("beat_ms".to_owned(), number(self.clock.now().timestamp_millis())),
            ("reached".to_owned(), number(0)),
            ("expires_at".to_owned(), number((Utc::now() + kept_for()).timestamp())),
        ]);
        if let Some(rate) = job.rate {
            item.insert(RATE.to_owned(), number(rate.into()));
        }
        if let Some(rpc) = &job.rpc {
            item.insert("rpc".to_owned(), AttributeValue::S(rpc.to_string()));
        }
        if let Some(place) = place {
            item.insert("place".to_owned(), AttributeValue::S(place));
        }
        // An update, because the policy of operators lets items of the audit be updated, and not replaced.
        let (mut sets, mut update) = (Vec::new(), self.dynamodb.update_item().table_name(&self.table));
        for (n, (name, value)) in item.into_iter().enumerate() {
            if name == "id" {
                update = update.key("id", value);
                continue;
            }
            sets.push(format!("#n{n} = :v{n}"));
            update = update.expression_attribute_names(format!("#n{n}"), name);
            update = update.expression_attribute_values(format!(":v{n}"), value);
        }
        let update = update.update_expression(format!("set {}", sets.join(", ")));
        update.send().await.map(|_| ()).map_err(|error| trouble("DynamoDB", &Failure::of(&error)))
    }

    pub(super) async fn add_progress(&self, kept: &mut [Kept]) -> Result<(), OperateError> {
        let keys: Vec<String> = kept.iter().map(|one| job_key(one.id)).collect();
        let items = self.items_of(&keys).await?;
        let now = self.clock.now();
        for one in kept {
            one.progress = items.get(&job_key(one.id)).and_then(|item| progress(item, now));
        }
        Ok(())
    }

    /// Asks for some of the deliveries that this command redrove. What is done or dead is not asked for again.
    async fn fates(&self) -> Result<Fates, OperateError> {
        let asked = self.looking.moved.lock().some(FATES_MAX);
        let answers = futures_util::stream::iter(asked).map(async |(event, rpc)| {
            let of = self.of(event, std::slice::from_ref(&rpc), None).await;
            let state = of.ok().and_then(|of| of.into_iter().next()).map(|delivery| delivery.state);
            (event, rpc, state)
        });
        let answers: Vec<_> = answers.buffer_unordered(TOGETHER).collect().await;
        let mut moved = self.looking.moved.lock();
        for (event, rpc, state) in answers {
            match state {
                Some(State::Done { .. }) => {}
                Some(State::Dead { .. }) => moved.dead += 1,
                _ => moved.left.push_back((event, rpc)),
            }
        }
        Ok(Fates { waiting: i64::try_from(moved.left.len()).unwrap_or(i64::MAX), dead: moved.dead })
    }
}

fn continued_before(id: Uuid) -> OperateError {
    OperateError::failed(
        format!("the repair {id} was continued before, or is not in the audit"),
        "see `outbox repair list`",
    )
}

/// Pure: the oldest that is not this one.
fn another(id: Uuid, running: Vec<Kept>) -> Option<Kept> {
    running.into_iter().find(|one| one.id != id)
}

fn meets(job: &Job, of: &Progress) -> bool {
    let overlap = match (job.rpc.as_ref().map(Rpc::as_str), of.rpc.as_deref()) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    job.kind == of.kind && overlap
}

#[cfg(test)]
mod tests {
    use outbox_transport::operate::At;

    use super::*;

    /// Guards promise 3: a repair that sees another withdraws, also the older one, because the other may have looked too early.
    #[test]
    fn a_repair_that_sees_another_withdraws() {
        let id = |n: u128| Uuid::from_u128(n);
        let kept = |n: u128| Kept {
            source: "dynamodb".to_owned(),
            id: id(n),
            at: At::from(Utc::now()),
            who: "me@host".to_owned(),
            role: None,
            command: "outbox dlq redrive".to_owned(),
            result: None,
            ended: false,
            progress: None,
        };
        for (running, seen) in [
            (vec![], None),
            (vec![2], None),
            (vec![1, 2], Some(1)),
            (vec![2, 3], Some(3)),
            (vec![3], Some(3)),
        ] {
            let found = another(id(2), running.iter().map(|n| kept(*n)).collect());
            assert_eq!(found.map(|kept| kept.id), seen.map(id), "{running:?}");
        }
    }
}
