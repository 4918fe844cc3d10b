//! Where the services are: reads services.yaml at the start and at SIGHUP, and refuses what can't work.

use std::collections::BTreeSet;

use outbox_contract::Contract;
use outbox_event_router::Router;
use outbox_event_router::services::{self, Many, Name};
use outbox_finding::Severity;
use outbox_runtime::Chain;
use outbox_worker::config::Cli;
use outbox_worker::plan::{Plan, Plans};
use outbox_worker::rpc::{Client, RpcClient, Serves, Services};

/// The client of every service with an address. `Err` is the text for the user.
pub(crate) fn client(cli: &Cli, router: &Router, contract: Option<&Contract>) -> Result<Client, String> {
    let file = file(cli)?;
    let (endpoints, encodings, only) = (all(&cli.endpoints), all(&cli.encodings), all(&cli.only));
    let services = Services {
        endpoints: &endpoints,
        encodings: &encodings,
        file: file.as_ref(),
        only: &only,
        contract,
        header_prefixes: &cli.header_prefixes,
    };
    let refused =
        |error: outbox_worker::rpc::ClientError| mistake(&Chain(&error).to_string(), &error.remedy());
    let client = Client::new(router, &services).map_err(refused)?;
    if let Some(file) = &file {
        let names: Vec<Name> = services.names(router).into_values().collect();
        for found in file.unknown(&names) {
            tracing::warn!(place = %found.place, hint = found.hint, "{}", found.message);
        }
    }
    if contract.is_none() && !cli.full_names {
        complete(router, &client)?;
    }
    Ok(client)
}

/// What is wrong, and what to do, as at the start.
pub(crate) fn mistake(problem: &str, remedy: &str) -> String {
    format!("error: {problem}\n  {remedy}")
}

/// Says which services have no address, at the start and after each reload, and shows it as a metric.
pub(crate) async fn say(mut plans: Plans<Client>) {
    let mut shown = BTreeSet::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        shown = say_of(&plan, &shown);
        if plans.changed().await.is_err() {
            return;
        }
    }
}

/// Returns the services that it shows. Those that were shown before and are called no more have an address, or need none.
fn say_of(plan: &Plan<Client>, before: &BTreeSet<String>) -> BTreeSet<String> {
    let Plan { router, client } = plan;
    let unaddressed = client.unaddressed();
    let here = router.rpcs().filter(|(rpc, _)| client.serves(rpc) != Serves::NotHere);
    let shown: BTreeSet<String> = here.map(|(rpc, _)| router.called(rpc).service().to_owned()).collect();
    for service in shown.union(before) {
        let is_missing = f64::from(u8::from(unaddressed.contains(service.as_str())));
        metrics::gauge!("outbox_worker_unaddressed", "service" => service.clone()).set(is_missing);
    }
    for service in unaddressed {
        tracing::error!(
            service,
            "no address: its queues wait, and the others go on; add it to services.yaml and send SIGHUP, or pass --endpoint"
        );
    }
    shown
}

fn all<T: Clone>(many: &[Many<T>]) -> Vec<T> {
    many.iter().flat_map(|Many(some)| some.iter().cloned()).collect()
}

fn file(cli: &Cli) -> Result<Option<services::Services>, String> {
    let Some(path) = &cli.services else { return Ok(None) };
    let remedy = "pass --services FILE; docs/services.md shows what is in it";
    let (file, report) =
        services::Services::read(path).map_err(|error| mistake(&error.to_string(), remedy))?;
    if report.count(Severity::Error) > 0 {
        return Err(report.to_string());
    }
    Ok(Some(file))
}

/// Without proto, a name without a package is called as it is, and no server of a package would know it.
fn complete(router: &Router, client: &Client) -> Result<(), String> {
    let called = router.rpcs().map(|(rpc, _)| rpc).filter(|rpc| client.serves(rpc) == Serves::Yes);
    let short: BTreeSet<&str> =
        called.map(|rpc| router.called(rpc).service()).filter(|service| !service.contains('.')).collect();
    if short.is_empty() {
        return Ok(());
    }
    let names = short.into_iter().collect::<Vec<_>>().join(", ");
    Err(mistake(
        &format!("event_router.yaml names services without their package, and there is no proto: {names}"),
        "pass --proto DIR with the services' .proto files, or a descriptor set; or write the package: acme.card.v1.CardService/Notify. If these services have no package, pass --full-names",
    ))
}
