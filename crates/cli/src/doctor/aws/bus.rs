use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::{Rule, RuleState, Target};
use futures_util::StreamExt;
use outbox_aws::Failure;
use outbox_event_router::{Route, Router, Rpc, names};
use serde_json::Value;

use super::queues::Found;
use super::unseen::{TOGETHER, unseen};
use crate::doctor::diagnosis::Diagnosis;

const APPLY: &str = "`terraform apply` makes it of event_router.yaml";

/// One bus, its rules and their targets.
pub(super) struct Events<'a> {
    client: Client,
    bus: &'a str,
    prefix: &'a str,
}

impl<'a> Events<'a> {
    pub(super) fn new(client: Client, bus: &'a str, prefix: &'a str) -> Self {
        Self { client, bus, prefix }
    }

    /// Checks every route's rule and target, and finds rules that no route needs. Returns the rules that send to each RPC's
    /// queue.
    pub(super) async fn look(
        &self,
        router: &Router,
        queues: &BTreeMap<Rpc, Found>,
        findings: &mut Vec<Diagnosis>,
    ) -> BTreeMap<Rpc, Vec<String>> {
        let place = format!("bus {}", self.bus);
        let rules = match self.rules().await {
            Ok(rules) => rules,
            Err(failure) if failure.code == "ResourceNotFoundException" => {
                let hint = "`terraform apply` makes it; see --bus (OUTBOX_BUS), AWS_REGION and the account";
                findings.push(Diagnosis::error(&place, "there is none: nothing can be put", hint));
                return BTreeMap::new();
            }
            Err(failure) => {
                findings.push(unseen(&place, &failure, "events:DescribeEventBus, events:ListRules"));
                return BTreeMap::new();
            }
        };
        findings.push(Diagnosis::ok(&place, crate::show::counted(rules.len(), "rule")));
        let looked = futures_util::stream::iter(router.routes()).map(async |route| {
            let rule = rules.get(&names::rule(route.event, route.rpc));
            (route.rpc.clone(), self.route(&route, rule, queues.get(route.rpc)).await)
        });
        let mut senders: BTreeMap<Rpc, Vec<String>> = BTreeMap::new();
        for (rpc, (arn, finding)) in looked.buffered(TOGETHER).collect::<Vec<_>>().await {
            senders.entry(rpc).or_default().extend(arn);
            findings.push(finding);
        }
        if router.events().next().is_some() {
            self.superfluous(router, &rules, findings).await;
        }
        senders
    }

    /// By name, without the rules that AWS itself manages, such as an archive's.
    async fn rules(&self) -> Result<BTreeMap<String, Rule>, Failure> {
        // For a bus that does not exist, AWS may list no rules instead of an error.
        self.client.describe_event_bus().name(self.bus).send().await.map_err(|error| Failure::of(&error))?;
        let (mut rules, mut next) = (BTreeMap::new(), None);
        loop {
            let list = self.client.list_rules().event_bus_name(self.bus).limit(100).set_next_token(next);
            let page = list.send().await.map_err(|error| Failure::of(&error))?;
            for rule in page.rules.unwrap_or_default() {
                let name = rule.name().unwrap_or_default().to_owned();
                if rule.managed_by().is_none() && !name.starts_with("Events-Archive-") {
                    rules.insert(name, rule);
                }
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(rules);
            }
        }
    }

    /// The rule's ARN, and the finding about it.
    async fn route(
        &self,
        route: &Route<'_>,
        rule: Option<&Rule>,
        queue: Option<&Found>,
    ) -> (Option<String>, Diagnosis) {
        let place = format!("{} -> {}", route.event, route.rpc);
        let Some(rule) = rule else {
            let name = names::rule(route.event, route.rpc);
            return (
                None,
                Diagnosis::error(
                    &place,
                    format!("there is no rule {name}: the event does not reach the RPC"),
                    APPLY,
                ),
            );
        };
        let (name, arn) = (rule.name().unwrap_or_default(), rule.arn().map(str::to_owned));
        let pattern: Value =
            serde_json::from_str(rule.event_pattern().unwrap_or_default()).unwrap_or_default();
        if rule.state() == Some(&RuleState::Disabled) {
            let hint = format!("aws events enable-rule --event-bus-name {} --name {name}", self.bus);
            return (arn, Diagnosis::error(&place, format!("rule {name} is disabled"), hint));
        }
        if !pattern["detail-type"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == route.event))
        {
            return (arn, Diagnosis::error(&place, format!("rule {name} waits for something else"), APPLY));
        }
        let targets = match self.targets(name).await {
            Ok(targets) => targets,
            Err(failure) => return (arn, unseen(&place, &failure, "events:ListTargetsByRule")),
        };
        let target = targets.iter().find(|target| queue.is_none_or(|queue| target.arn() == queue.arn));
        let finding = match target {
            None => Diagnosis::error(
                &place,
                format!("rule {name} does not send to the queue of {}", route.rpc),
                APPLY,
            ),
            Some(target) if !writes_messages(target, route.rpc) => {
                let message = format!("rule {name} does not write the message that the worker reads");
                Diagnosis::error(&place, message, "`terraform apply` sets its input transformer")
            }
            Some(target) if target.dead_letter_config().is_none() => {
                let message =
                    format!("rule {name} has no queue for what it can't deliver: that would be lost");
                Diagnosis::warning(&place, message, "`terraform apply` sets it")
            }
            Some(_) => Diagnosis::ok(place, "its rule sends to its queue"),
        };
        (arn, finding)
    }

    async fn targets(&self, rule: &str) -> Result<Vec<Target>, Failure> {
        let list = self.client.list_targets_by_rule().event_bus_name(self.bus).rule(rule);
        list.send().await.map(|page| page.targets.unwrap_or_default()).map_err(|error| Failure::of(&error))
    }

    /// Rules that no route needs, and that still fill our queues.
    async fn superfluous(
        &self,
        router: &Router,
        rules: &BTreeMap<String, Rule>,
        findings: &mut Vec<Diagnosis>,
    ) {
        let needed: BTreeSet<String> =
            router.routes().map(|route| names::rule(route.event, route.rpc)).collect();
        for name in rules.keys().filter(|name| !needed.contains(*name)) {
            let Ok(targets) = self.targets(name).await else { continue };
            let is_ours = |target: &Target| {
                target.arn().rsplit(':').next().is_some_and(|queue| queue.starts_with(self.prefix))
            };
            if targets.iter().any(is_ours) {
                findings.push(Diagnosis::warning(
                    &format!("rule {name}"),
                    "no route of event_router.yaml needs it",
                    "`terraform apply` removes it; or is the router an old one?",
                ));
            }
        }
    }
}

/// Whether the target writes the message that Terraform configures and the worker reads.
fn writes_messages(target: &Target, rpc: &Rpc) -> bool {
    let Some(transformer) = target.input_transformer() else { return false };
    let squeezed: String = transformer.input_template().chars().filter(|c| !c.is_whitespace()).collect();
    let detail = transformer.input_paths_map().and_then(|paths| paths.get("detail"));
    squeezed == format!(r#"{{"rpc":"{rpc}","event":<detail>}}"#)
        && detail.is_some_and(|path| path == "$.detail")
}
