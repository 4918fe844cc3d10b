//! Compares the resources on AWS with event_router.yaml.

mod bus; // rules and their targets
mod policy; // who may send into a queue
mod queues; // queues and dead-letter queues
mod table; // the dedup record

use std::time::Duration;

use event_router::Router;
use outbox_aws::{Failure, Missing};
use outbox_transport::operate::OperateError;

use super::Finding;
use crate::options::Options;
use crate::safe;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Requests at a time: the control planes allow some tens a second.
const TOGETHER: usize = 8;
const PROBLEM_CHARS_MAX: usize = 500;

pub(super) async fn look(options: &Options, router: Option<&Router>) -> Vec<Finding> {
    let config = outbox_aws::config(ANSWER_WITHIN).await;
    let missing = outbox_aws::missing(&config).await;
    if !missing.is_empty() {
        let finding = |Missing { what, problem, remedy }: &Missing| {
            let problem =
                problem.as_ref().map(|problem| format!(" ({})", safe::line(problem, PROBLEM_CHARS_MAX)));
            Finding::error("aws", format!("{what}{}", problem.unwrap_or_default()), *remedy)
        };
        return missing.iter().map(finding).collect();
    }
    let region = config.region().map(|region| format!("region {region}")).unwrap_or_default();
    let mut findings = vec![Finding::ok("aws", format!("{region}, credentials found"))];
    let nothing = Router::default();
    let routes = router.unwrap_or(&nothing);
    let sqs = queues::Sqs::new(aws_sdk_sqs::Client::new(&config), &options.queue_prefix);
    let queues = sqs.look(routes, &mut findings).await;
    let events =
        bus::Events::new(aws_sdk_eventbridge::Client::new(&config), &options.bus, &options.queue_prefix);
    let rules = events.look(routes, &queues, &mut findings).await;
    policy::look(&queues, &rules, &mut findings);
    // Without routes everything would be superfluous.
    if router.is_some() {
        sqs.superfluous(routes, &mut findings).await;
    }
    table::look(&aws_sdk_dynamodb::Client::new(&config), &options.dedup_table, &mut findings).await;
    findings
}

/// A failed check: this role lacks a permission, or AWS does not answer.
fn unseen(place: &str, failure: &Failure, action: &str) -> Finding {
    if failure.code.contains("AccessDenied") || failure.code.contains("NotAuthorized") {
        return Finding::skipped(
            place,
            "this role may not look at it",
            format!("allow it {action}, to have it checked"),
        );
    }
    // Every other command names the same remedy.
    let OperateError { remedy, .. } = outbox_aws::operate::trouble("AWS", failure);
    Finding::error(place, format!("AWS does not say: {failure}"), remedy)
}
