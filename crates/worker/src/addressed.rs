//! Where the services are, at the start: reads services.yaml, and refuses what can't work.

use std::collections::BTreeSet;
use std::process::ExitCode;

use outbox_contract::Contract;
use outbox_event_router::Router;
use outbox_event_router::services::{self, Many, Name};
use outbox_finding::Severity;
use outbox_runtime::{Chain, refuse};
use outbox_worker::config::Cli;
use outbox_worker::rpc::{Client, RpcClient, Serves, Services};

/// The client of every service with an address. A mistake is shown, and ends the worker.
pub(crate) fn client(cli: &Cli, router: &Router, contract: Option<&Contract>) -> Result<Client, ExitCode> {
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
        |error: outbox_worker::rpc::ClientError| refuse(&Chain(&error).to_string(), &error.remedy());
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

/// Says which services have no address, once, and shows it as a metric.
pub(crate) fn say(router: &Router, client: &Client) {
    let unaddressed = client.unaddressed();
    for (rpc, _) in router.rpcs().filter(|(rpc, _)| client.serves(rpc) != Serves::NotHere) {
        let service = router.called(rpc).service();
        let is_missing = unaddressed.contains(service);
        metrics::gauge!("outbox_worker_unaddressed", "service" => service.to_owned()).set(if is_missing {
            1.0
        } else {
            0.0
        });
    }
    for service in unaddressed {
        tracing::error!(
            service,
            "no address: its queues wait, and the others go on; add it to services.yaml or pass --endpoint"
        );
    }
}

fn all<T: Clone>(many: &[Many<T>]) -> Vec<T> {
    many.iter().flat_map(|Many(some)| some.iter().cloned()).collect()
}

fn file(cli: &Cli) -> Result<Option<services::Services>, ExitCode> {
    let Some(path) = &cli.services else { return Ok(None) };
    let remedy = "pass --services FILE; docs/services.md shows what is in it";
    let (file, report) =
        services::Services::read(path).map_err(|error| refuse(&error.to_string(), remedy))?;
    if report.count(Severity::Error) > 0 {
        eprintln!("{report}");
        return Err(ExitCode::from(2));
    }
    Ok(Some(file))
}

/// Without proto, a name without a package is called as it is, and no server of a package would know it.
fn complete(router: &Router, client: &Client) -> Result<(), ExitCode> {
    let called = router.rpcs().map(|(rpc, _)| rpc).filter(|rpc| client.serves(rpc) == Serves::Yes);
    let short: BTreeSet<&str> =
        called.map(|rpc| router.called(rpc).service()).filter(|service| !service.contains('.')).collect();
    if short.is_empty() {
        return Ok(());
    }
    let names = short.into_iter().collect::<Vec<_>>().join(", ");
    Err(refuse(
        &format!("event_router.yaml names services without their package, and there is no proto: {names}"),
        "pass --proto DIR with the services' .proto files, or a descriptor set; or write the package: acme.card.v1.CardService/Notify. If these services have no package, pass --full-names",
    ))
}
