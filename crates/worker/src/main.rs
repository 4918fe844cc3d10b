use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use contract::{Contract, ReadError, Sources};
use event_router::Router;
use runtime::Chain;
use tokio::task::JoinSet;
use worker::config::Cli;
use worker::embedded::{self, Settings};
use worker::rpc::{Client, Services};

/// From the signal on; a service manager's patience is usually ten.
const STOP_WITHIN: Duration = Duration::from_secs(9);

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.logs.init();
    runtime::block_on(start(cli))
}

async fn start(cli: Cli) -> ExitCode {
    let sources = match cli.databases.list() {
        Ok(sources) => sources,
        Err((problem, remedy)) => return runtime::refuse(&problem, remedy),
    };
    let router = match Router::read(&cli.router) {
        Ok(router) => router,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let contract = match contract(cli.proto) {
        Ok(contract) => contract,
        Err(error) => return runtime::refuse(&error.to_string(), "see --proto in worker --help"),
    };
    let services =
        Services { endpoints: &cli.endpoints, encodings: &cli.encodings, contract: contract.as_ref() };
    let client = match Client::new(&router, &services) {
        Ok(client) => client,
        Err(error) => return runtime::refuse(&Chain(&error).to_string(), &error.remedy()),
    };
    let stop = match runtime::start(cli.metrics_addr).await {
        Ok(stop) => stop,
        Err(refused) => return refused,
    };

    let settings = Settings { name: runtime::process_name(), visibility: cli.visibility };
    let mut workers = JoinSet::new();
    for source in sources {
        let (router, client, settings, stop) =
            (router.clone(), client.clone(), settings.clone(), stop.clone());
        workers.spawn(async move {
            let ended = embedded::run(&source, &router, &client, &settings, &stop).await;
            ended.map_err(|error| format!("{}: {}", source.name(), Chain(&error)))
        });
    }
    runtime::until_stopped(workers, &stop, STOP_WITHIN).await
}

fn contract(protos: Vec<PathBuf>) -> Result<Option<Contract>, ReadError> {
    if protos.is_empty() {
        return Ok(None);
    }
    Sources { protos, includes: Vec::new() }.read().map(Some)
}
