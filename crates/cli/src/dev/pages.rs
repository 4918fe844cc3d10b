//! The console of `outbox dev`, and what its pages are about.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use outbox_postgres::Source;
use outbox_worker::rpc::ServiceEncoding;
use tokio::net::TcpListener;

use super::wiring::{Files, Wiring};
use crate::asked::InUse;
use crate::console::{self, Beside, Place, Questions};
use crate::safe::word;
use crate::stopped::Stopped;

const ROUTER: &str = "event_router.yaml";

#[derive(Debug, clap::Args)]
pub(super) struct PagesArgs {
    /// Where the console listens, on this machine. By default on 127.0.0.1:9466, or on a free port if that one is taken.
    #[arg(long, value_name = "HOST:PORT", value_parser = on_this_machine, conflicts_with = "no_console")]
    console: Option<SocketAddr>,

    /// No console.
    #[arg(long)]
    no_console: bool,
}

/// The console, if there is one.
#[derive(Debug)]
pub(super) struct Pages {
    console: Option<Beside>,
    source: Source,
}

impl PagesArgs {
    /// Before anything takes time: a wrong address is an error at once.
    pub(super) async fn listen(&self) -> Result<Option<TcpListener>, Stopped> {
        if self.no_console {
            return Ok(None);
        }
        match console::listen(self.console).await {
            Ok(listener) => Ok(Some(listener)),
            Err(stopped) if self.console.is_some() => Err(stopped),
            // Without any free port there is no console, and everything else works.
            Err(_) => Ok(None),
        }
    }
}

impl Pages {
    pub(super) fn open(
        listener: Option<TcpListener>,
        source: &Source,
        files: &Files,
        wiring: &Wiring,
    ) -> (Self, Option<Questions>) {
        let pages = Self { console: None, source: source.clone() };
        let place = pages.place(files, wiring);
        let opened = listener.and_then(|listener| Beside::open(listener, place, shown(&files.router)).ok());
        match opened {
            Some((console, questions)) => (Self { console: Some(console), ..pages }, Some(questions)),
            None => (pages, None),
        }
    }

    /// With the token.
    pub(super) fn url(&self) -> Option<&str> {
        self.console.as_ref().map(Beside::url)
    }

    /// Other files are in use.
    pub(super) fn follow(&self, files: &Files, wiring: &Wiring) {
        if let Some(console) = &self.console {
            console.moves_to(self.place(files, wiring));
        }
    }

    fn place(&self, files: &Files, wiring: &Wiring) -> Place {
        let router_file = files.router.display().to_string();
        // The environment may have another transport.
        let words = vec!["--transport=postgres".to_owned(), format!("--router={router_file}")];
        let protos = files.proto.iter().map(|proto| format!("--proto={}", proto.display()));
        let addressed = wiring.services.iter().filter_map(|(name, url)| Some((name, url.as_ref()?)));
        let endpoints = addressed.map(|(name, url)| format!("--endpoint={name}={url}"));
        let encodings = files.encodings.iter().map(|ServiceEncoding { service, encoding }| {
            format!("--encoding={service}={}", encoding.as_str())
        });
        Place {
            words,
            doctor: protos.chain(endpoints).chain(encodings).collect(),
            router_file,
            in_use: InUse {
                database: Some(self.source.clone()),
                routes: Some(Arc::new(wiring.router.clone())),
                connections: None,
            },
        }
    }
}

/// Commands in the same folder find the database, and the file by its usual name.
fn shown(router: &Path) -> String {
    let is_found = router == Path::new(ROUTER) || std::env::var_os("OUTBOX_ROUTER").is_some();
    if is_found { String::new() } else { format!(" --router {}", word(&router.display().to_string())) }
}

fn on_this_machine(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text.parse().map_err(|_| "write HOST:PORT, as in 127.0.0.1:9466".to_owned())?;
    match addr.ip().is_loopback() {
        true => Ok(addr),
        false => Err("others reach that address: listen on 127.0.0.1, or start `outbox console`".to_owned()),
    }
}
