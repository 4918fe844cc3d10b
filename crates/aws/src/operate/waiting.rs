//! What SQS can't do: it lists no queue, and changes no message that was not received.

use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Able, Carried, Hand, InQueue, Look, OperateError, Part, Repair, Retire, Spot, Waiting,
};

use super::AwsOperator;

impl Able for AwsOperator {
    fn refusal(&self, hand: Hand) -> Option<OperateError> {
        Some(refused(hand))
    }
}

impl Waiting for AwsOperator {
    /// Those of event_router.yaml.
    async fn queues(&self) -> Result<Vec<Rpc>, OperateError> {
        Ok(self.rpcs.clone())
    }

    async fn look(&self, _: &Look, _: Option<Spot>) -> Result<Vec<InQueue>, OperateError> {
        Err(refused(Hand::List))
    }

    async fn retry_now(&self, _: &Repair, _: &Rpc, _: &[Spot]) -> Result<u64, OperateError> {
        Err(refused(Hand::RetryNow))
    }

    async fn give_up(&self, _: &Repair, _: &Rpc, _: &[Spot], _: &str) -> Result<u64, OperateError> {
        Err(refused(Hand::GiveUp))
    }
}

impl Retire for AwsOperator {
    async fn move_some(&self, _: &Repair, _: &Rpc, _: &Rpc, _: Part) -> Result<(u64, bool), OperateError> {
        Err(refused(Hand::Move))
    }

    async fn carry(
        &self,
        _: &Repair,
        _: &Rpc,
        _: &Rpc,
        _: Carried,
    ) -> Result<(u64, Option<Carried>), OperateError> {
        Err(refused(Hand::Move))
    }

    async fn drop_some(&self, _: &Repair, _: &Rpc) -> Result<u64, OperateError> {
        Err(refused(Hand::Drop))
    }

    async fn remove(&self, _: &Repair, _: &Rpc) -> Result<bool, OperateError> {
        Err(refused(Hand::Drop))
    }
}

fn refused(hand: Hand) -> OperateError {
    let (problem, remedy) = match hand {
        Hand::List => (
            "SQS can't list what is in a queue",
            "`outbox status` has the numbers, `outbox why EVENT_ID` one event, `outbox dlq list` what is dead, and the log of worker each failed attempt",
        ),
        Hand::RetryNow => (
            "SQS can't bring the next attempt of a message forward",
            "`outbox replay --event ID --rpc RPC --run` sends it once more: what succeeds first is recorded, and is not called again",
        ),
        Hand::GiveUp => (
            "SQS can't take single messages out of a queue",
            "`outbox poison --rpc RPC` lets workers dead-letter what the RPC refuses; `max_attempts` in event_router.yaml ends retries sooner",
        ),
        Hand::Move => (
            "SQS can't move what is in one queue to another",
            "keep the old RPC in `kept` of infra/ until workers have emptied its queue: ops/procedures/rename-or-retire-an-rpc.md",
        ),
        Hand::Drop => (
            "on AWS queues are removed by Terraform",
            "take the RPC out of event_router.yaml and of `kept` in infra/, and run `terraform apply`: that deletes its queues and what is in them",
        ),
    };
    OperateError::failed(problem, remedy)
}
