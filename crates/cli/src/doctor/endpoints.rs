//! Whether every service has an address, and whether its server there speaks what the worker speaks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use outbox_contract::{Contract, Selection, Sources};
use outbox_event_router::services::{
    ALL, Endpoint, Many, Name, Said, ServiceEncoding, Services as File, similar,
};
use outbox_event_router::{Router, Rpc};
use outbox_finding::Severity;
use outbox_runtime::Chain;
use outbox_worker::rpc::{Client, Probe, Services};
use tokio::net::TcpStream;

use super::address::host_and_port;
use super::diagnosis::Diagnosis;
use crate::running::ADD_ADDRESS;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WRITE: &str = "write SERVICE=URL, as in NotificationService=http://notification:8080";

/// The worker's flags and file about services.
#[derive(Debug, clap::Args)]
pub(super) struct ServicesArgs {
    /// services.yaml, as the worker has it. Its secrets are used to ask the services, and are not shown.
    #[arg(long, env = "OUTBOX_SERVICES", value_name = "FILE")]
    services: Option<PathBuf>,

    /// Where a service is served, as for the worker: NotificationService=http://notification:8080. It is asked for the
    /// method OutboxDoctor, which no service has, in its encoding and with its credentials: nothing is run. Repeat for
    /// each service; in the environment, separate them by spaces or line ends.
    #[arg(long = "endpoint", env = "OUTBOX_ENDPOINTS", value_name = "SERVICE=URL")]
    endpoints: Vec<String>,

    /// What a service is sent, as for the worker: LedgerService=grpc.
    #[arg(long = "encoding", env = "OUTBOX_ENCODINGS", value_name = "SERVICE=ENCODING")]
    encodings: Vec<Many<ServiceEncoding>>,
}

/// Flags and file, as far as they can be read.
struct Known {
    endpoints: Vec<Endpoint>,
    encodings: Vec<ServiceEncoding>,
    file: Option<File>,
}

pub(super) async fn look(args: &ServicesArgs, protos: &[PathBuf], router: Option<&Router>) -> Vec<Diagnosis> {
    let (known, mut findings) = read(args);
    if known.endpoints.is_empty() && known.file.is_none() && findings.is_empty() {
        let hint = "pass --services FILE or --endpoint SERVICE=URL, as the worker has it";
        return vec![Diagnosis::skipped("services", "not connected to", hint)];
    }
    let Some(router) = router else { return findings };
    let contract = contract(protos, router);
    let called = called(router, contract.as_ref());
    let names: Vec<Name> = called.values().map(|(name, _)| name.clone()).collect();
    findings.extend(unknown(&known, &names));
    let asked = called.values().map(|(name, rpc)| ask(&known, name, rpc, router, contract.as_ref()));
    findings.extend(join_all(asked).await);
    findings
}

fn read(args: &ServicesArgs) -> (Known, Vec<Diagnosis>) {
    let mut findings = Vec::new();
    let mut endpoints = Vec::new();
    for text in args.endpoints.iter().flat_map(|text| text.split([' ', '\n', '\t', ','])) {
        match text.parse() {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(_) if text.is_empty() => {}
            Err(_) => findings.push(Diagnosis::error(text, "that is no service's address", WRITE)),
        }
    }
    let encodings = args.encodings.iter().flat_map(|Many(some)| some.iter().cloned()).collect();
    let file = args.services.as_deref().and_then(|path| file(path, &mut findings));
    (Known { endpoints, encodings, file }, findings)
}

fn file(path: &Path, findings: &mut Vec<Diagnosis>) -> Option<File> {
    match File::read(path) {
        Ok((file, report)) => {
            findings.extend(report.findings().iter().map(|found| {
                let severity = match found.severity {
                    Severity::Error => super::diagnosis::Severity::Error,
                    Severity::Warning => super::diagnosis::Severity::Warning,
                };
                Diagnosis::with(severity, &found.place.to_string(), &found.message, &found.hint)
            }));
            Some(file)
        }
        Err(error) => {
            let place = path.display().to_string();
            findings.push(Diagnosis::error(
                &place,
                error.to_string(),
                "pass --services FILE, as the worker has it",
            ));
            None
        }
    }
}

/// Its mistakes are among the findings about routes.
fn contract(protos: &[PathBuf], router: &Router) -> Option<Contract> {
    let events = Selection::new(&[], router.packages());
    let sources = Sources { protos: protos.to_vec(), includes: Vec::new(), events };
    (!protos.is_empty()).then(|| sources.read().ok()).flatten()
}

/// Each service with one of its RPCs.
fn called<'r>(router: &'r Router, contract: Option<&Contract>) -> BTreeMap<&'r str, (Name, &'r Rpc)> {
    let full = |rpc: &Rpc| {
        let method = contract?.rpc(router.called(rpc).as_str()).ok()?;
        Some(method.parent_service().full_name().to_owned())
    };
    let rpcs = router.rpcs().map(|(rpc, _)| rpc);
    rpcs.map(|rpc| {
        let service = router.called(rpc).service();
        (service, (Name::new(service, full(rpc)), rpc))
    })
    .collect()
}

fn unknown(known: &Known, names: &[Name]) -> Vec<Diagnosis> {
    let mut services: Vec<&String> = known.endpoints.iter().map(|endpoint| &endpoint.service).collect();
    services.retain(|service| *service != ALL && !names.iter().any(|name| name.is(service)));
    services.dedup();
    let of_flag = |service: &&String| {
        let hint = match similar(service, names) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "is the name that of event_router.yaml?".to_owned(),
        };
        Diagnosis::warning(service, "it has an address, and no route calls it", hint)
    };
    let of_file = known.file.iter().flat_map(|file| file.unknown(names));
    let of_file =
        of_file.map(|found| Diagnosis::warning(&found.place.to_string(), found.message, found.hint));
    services.iter().map(of_flag).chain(of_file).collect()
}

/// Connects, and asks as a worker would.
async fn ask(
    known: &Known,
    name: &Name,
    rpc: &Rpc,
    router: &Router,
    contract: Option<&Contract>,
) -> Diagnosis {
    let service = name.written.as_str();
    let said = Said { endpoints: &known.endpoints, encodings: &known.encodings, file: known.file.as_ref() };
    let address = match said.of(name) {
        Ok(called) => called.address,
        Err(found) => {
            let message = format!("it may be {} or {}", found.one, found.other);
            return Diagnosis::error(service, message, "name its package in flags and services.yaml");
        }
    };
    let Some(address) = address else {
        let message = "event_router.yaml calls it, and nothing says where it is: its queues wait";
        return Diagnosis::error(service, message, ADD_ADDRESS);
    };
    let Some(target) = host_and_port(&address) else {
        return Diagnosis::error(service, "that is no service's address", WRITE);
    };
    if let Err(problem) = connect(&target).await {
        let hint =
            "is it up, and is that its name and port as seen from here? Until then its deliveries wait";
        return Diagnosis::error(service, format!("can't connect to {target}: {problem}"), hint);
    }
    let endpoints: Vec<Endpoint> =
        known.endpoints.iter().filter(|it| it.service == ALL || name.is(&it.service)).cloned().collect();
    let encodings: Vec<ServiceEncoding> =
        known.encodings.iter().filter(|it| name.is(&it.service)).cloned().collect();
    let services = Services {
        endpoints: &endpoints,
        encodings: &encodings,
        file: known.file.as_ref(),
        only: std::slice::from_ref(&name.written),
        contract,
        header_prefixes: &[],
    };
    match Client::new(router, &services) {
        Ok(client) => told(service, &target, client.probe(rpc, ANSWER_WITHIN).await),
        Err(error) => Diagnosis::error(service, Chain(&error).to_string(), error.remedy()),
    }
}

async fn connect(target: &str) -> Result<(), String> {
    match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(target)).await {
        Ok(connected) => connected.map(|_| ()).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_WITHIN.as_secs())),
    }
}

fn told(service: &str, target: &str, probe: Option<Probe>) -> Diagnosis {
    let accepts = format!("{target} accepts connections");
    match probe {
        Some(Probe::Fits) => Diagnosis::ok(service, format!("{accepts}, and speaks as the worker does")),
        Some(Probe::Odd { answer }) => Diagnosis::info(
            service,
            format!("{accepts}, and answers an unknown method with: {answer}"),
            "a server of the calls would not know the method: is it the right one?",
        ),
        Some(Probe::Fails { problem, remedy }) => {
            Diagnosis::error(service, format!("{accepts}, and calls would fail: {problem}"), remedy)
        }
        None => Diagnosis::ok(service, accepts),
    }
}
