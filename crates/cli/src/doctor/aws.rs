//! Compares the resources on AWS with event_router.yaml.

mod bus; // rules and their targets
mod policy; // who may send into a queue
mod queues; // queues and dead-letter queues
mod table; // the dedup record
mod unseen; // what this role may not look at

use std::time::Duration;

use outbox_aws::Missing;
use outbox_event_router::Router;

use super::diagnosis::Diagnosis;
use crate::options::Options;
use crate::safe;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const PROBLEM_CHARS_MAX: usize = 500;

pub(super) async fn look(options: &Options, router: Option<&Router>) -> Vec<Diagnosis> {
    let config = outbox_aws::config(ANSWER_WITHIN).await;
    let missing = outbox_aws::missing(&config).await;
    if !missing.is_empty() {
        let finding = |Missing { what, problem, remedy }: &Missing| {
            let problem =
                problem.as_ref().map(|problem| format!(" ({})", safe::line(problem, PROBLEM_CHARS_MAX)));
            Diagnosis::error("aws", format!("{what}{}", problem.unwrap_or_default()), *remedy)
        };
        return missing.iter().map(finding).collect();
    }
    let region = config.region().map(|region| format!("region {region}")).unwrap_or_default();
    let mut findings = vec![Diagnosis::ok("aws", format!("{region}, credentials found"))];
    let nothing = Router::default();
    let routes = router.unwrap_or(&nothing);
    let sqs = queues::Sqs::new(aws_sdk_sqs::Client::new(&config), &options.queues.queue_prefix);
    let queues = sqs.look(routes, &mut findings).await;
    let events = bus::Events::new(
        aws_sdk_eventbridge::Client::new(&config),
        &options.bus.bus,
        &options.queues.queue_prefix,
    );
    let rules = events.look(routes, &queues, &mut findings).await;
    policy::look(&queues, &rules, &mut findings);
    // Without routes everything would be superfluous.
    if router.is_some() {
        sqs.superfluous(routes, &mut findings).await;
    }
    table::look(&aws_sdk_dynamodb::Client::new(&config), &options.queues.dedup_table, &mut findings).await;
    findings
}
