//! The time of DynamoDB. The clock of an operator's machine may be wrong, and must not decide which workers are silent.

use std::sync::Arc;

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use chrono::{DateTime, TimeDelta, Utc};
use outbox_runtime::Guarded;

/// An answer has its time in whole seconds, and takes a while. A smaller difference is none.
const DIFFERS_FROM: TimeDelta = TimeDelta::seconds(2);

/// How far DynamoDB's clock is ahead of this machine's, by its last answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<Guarded<TimeDelta>>);

impl Clock {
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.0.lock()
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(ahead) = context.response().headers().get("date").and_then(|date| ahead(date, Utc::now()))
        {
            *self.0.lock() = ahead;
        }
        Ok(())
    }
}

/// None for a text that is not a date as HTTP writes it.
fn ahead(date: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let ahead = DateTime::parse_from_rfc2822(date).ok()?.to_utc() - now;
    Some(if ahead.abs() < DIFFERS_FROM { TimeDelta::zero() } else { ahead })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a small difference of clocks is none, and a text that is no time changes nothing.
    #[test]
    fn clocks_are_compared() {
        let now: DateTime<Utc> = "2026-11-26T11:04:30.900Z".parse().unwrap();
        for (date, seconds) in [
            ("Thu, 26 Nov 2026 11:04:30 GMT", Some(0)),
            ("Thu, 26 Nov 2026 11:04:32 GMT", Some(0)),
            ("Thu, 26 Nov 2026 11:14:31 GMT", Some(600)),
            ("Thu, 26 Nov 2026 10:59:30 GMT", Some(-300)),
            ("yesterday", None),
        ] {
            assert_eq!(ahead(date, now).map(|ahead| ahead.num_seconds()), seconds, "{date}");
        }
    }
}
