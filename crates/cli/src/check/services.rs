//! Checks services.yaml: its mistakes, unknown services, and services without an address.

use std::collections::BTreeMap;
use std::path::Path;

use outbox_contract::Contract;
use outbox_event_router::Router;
use outbox_event_router::services::{Name, Said, Services};
use outbox_finding::{Finding, Place, Report};

use crate::stopped::Stopped;

pub(super) fn check(path: &Path, router: &Router, contract: Option<&Contract>) -> Result<Report, Stopped> {
    let (services, mut report) = Services::read(path).map_err(|error| {
        Stopped::unusable(error.to_string(), "pass --services FILE; docs/services.md shows what is in it")
    })?;
    // With mistakes it is not known what the file has.
    if report.is_empty() {
        report.add(against(&services, &path.display().to_string(), router, contract));
    }
    Ok(report)
}

fn against(services: &Services, file: &str, router: &Router, contract: Option<&Contract>) -> Vec<Finding> {
    let mut called: BTreeMap<&str, (Name, &Place)> = BTreeMap::new();
    for route in router.routes() {
        let method = contract.and_then(|contract| contract.rpc(route.called.as_str()).ok());
        let full = method.map(|method| method.parent_service().full_name().to_owned());
        let name = Name::new(route.called.service(), full);
        called.entry(route.called.service()).or_insert((name, route.place));
    }
    let names: Vec<Name> = called.values().map(|(name, _)| name.clone()).collect();
    let said = Said { file: Some(services), ..Said::default() };
    let missing = called.into_iter().filter_map(|(service, (name, place))| match said.of(&name) {
        Ok(called) if called.address.is_some() => None,
        Ok(_) => Some(Finding::error(
            place.clone(),
            format!("no address for {service} in {file}"),
            format!(
                "add {service} to `service:` there, or an address to `default:`; until then its queues wait"
            ),
        )),
        Err(found) => Some(Finding::error(
            place.clone(),
            format!("'{service}' may be {} or {} in {file}", found.one, found.other),
            "name its package in both files",
        )),
    });
    let mut findings: Vec<Finding> = missing.collect();
    findings.extend(services.unknown(&names));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a service without an address, and an entry without a service, are found before a deploy.
    #[test]
    fn missing_and_unknown_services_are_found() {
        let yaml = "event:\n  - name: event_a\n    subscriber: [{ id: CardService/Take }, { id: LedgerService/Take }]\n";
        let router = Router::parse("event_router.yaml", yaml).unwrap();
        let services = Services::parse(
            "services.yaml",
            "service:\n  LedgerService: { address: 'http://ledger' }\n  CradService: { address: 'http://card' }\n",
        );
        let found = against(&services.unwrap(), "services.yaml", &router, None);
        let found: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}: {}; {}", one.severity.as_str(), one.place, one.message, one.hint))
            .collect();
        assert_eq!(
            found,
            [
                "error event_router.yaml:3:24: no address for CardService in services.yaml; add CardService to `service:` there, or an address to `default:`; until then its queues wait",
                "warning services.yaml:3:3: no RPC in event_router.yaml is of `CradService`; did you mean `CardService`?",
            ]
        );
    }
}
