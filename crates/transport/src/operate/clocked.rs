//! The clock by which letters die. That of an operator's machine may be wrong.

use chrono::{DateTime, Utc};

use super::error::OperateError;

#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Clocked {
    /// The time by the clock that gives dead letters their times: that of the database, or on AWS that of DynamoDB.
    ///
    /// A letter that dies after this was asked has a later time. On AWS clocks may differ by some seconds.
    async fn now(&self) -> Result<DateTime<Utc>, OperateError>;
}
