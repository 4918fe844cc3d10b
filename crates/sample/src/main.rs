use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use connectrpc::{ConnectRpcService, Router, Server};
use sample::afterpay::AfterPay;
use sample::journal::{Journal, say};
use sample::notification::Notification;
use serde_json::json;
use tokio::net::TcpListener;

/// A sample Connect server. Prints its address, and then a JSON line for each call.
#[derive(Debug, Parser)]
struct Cli {
    /// The service to run.
    #[arg(long, value_enum)]
    service: Service,

    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Service {
    Notification,
    Afterpay,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let cli = Cli::parse();
    let router = match cli.service {
        Service::Notification => Router::new().add_service(Arc::new(Notification)),
        Service::Afterpay => Router::new().add_service(Arc::new(AfterPay)),
    };
    let service = ConnectRpcService::new(router).with_interceptor(Journal);
    let listener = TcpListener::bind(cli.listen).await?;
    say(json!({ "listening": listener.local_addr()?.to_string() }));
    let shutdown = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Server::from_listener(listener).serve_with_service_and_shutdown(service, shutdown).await
}
