use std::io::Write;
use std::net::SocketAddr;

use clap::Parser;
use sample::services::{self, Service};
use tokio::net::TcpListener;

/// A sample Connect server. Prints its address, then one JSON line for each call.
#[derive(Debug, Parser)]
struct Cli {
    /// Which service to be.
    #[arg(long, value_enum)]
    service: Service,

    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cli = Cli::parse();
    let listener = TcpListener::bind(cli.listen).await?;
    say(&serde_json::json!({ "listening": listener.local_addr()?.to_string() }));
    let shutdown = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let handle = |call: sample::server::Incoming| -> sample::server::Answer {
        let result = services::handle(&call);
        say(&serde_json::json!({
            "rpc": call.rpc,
            "event_id": call.header("outbox-event-id"),
            "attempt": call.header("outbox-attempt"),
            "did": result.as_ref().ok(),
            "refused": result.as_ref().err().map(|error| error.code.as_str()),
        }));
        Box::pin(async move { result.map(|_| ()) })
    };
    sample::server::serve(listener, move |rpc| cli.service.serves(rpc), handle, shutdown).await
}

fn say(line: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: nothing to do about it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
