use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use event_router::Router;
use runtime::Chain;
use tokio::task::JoinSet;
use worker::config::Cli;
use worker::embedded::{self, Settings};
use worker::rpc::ConnectClient;

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
    let client = match ConnectClient::new(&cli.endpoints) {
        Ok(client) => client,
        Err(error) => return runtime::refuse(&Chain(&error).to_string(), "see --endpoint in worker --help"),
    };
    let missing = client.missing(router.rpcs().map(|(rpc, _)| rpc));
    if !missing.is_empty() {
        let example = missing
            .iter()
            .map(|service| format!("--endpoint {service}=http://HOST:PORT"))
            .collect::<Vec<_>>();
        return runtime::refuse(
            &format!("{} names services without an endpoint: {}", cli.router.display(), missing.join(", ")),
            &format!("pass {}", example.join(" ")),
        );
    }
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
