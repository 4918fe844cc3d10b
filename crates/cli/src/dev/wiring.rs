//! What the developer's files say: routes, proto, and where each RPC is called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use outbox_contract::{Contract, Sources};
use outbox_event_router::Router;
use outbox_finding::Severity;
use outbox_runtime::Chain;
use outbox_worker::rpc::{Client, HeaderPrefix, ServiceEncoding, Services};

use super::to::{self, To};
use crate::check::{Examined, examine};

/// Deeper folders than this are a loop of links.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) router: PathBuf,
    pub(super) proto: Vec<PathBuf>,
    pub(super) to: Vec<To>,
    pub(super) encodings: Vec<ServiceEncoding>,
    pub(super) header_prefixes: Vec<HeaderPrefix>,
}

/// Everything that relay and worker need.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) router: Router,
    pub(super) contract: Contract,
    pub(super) client: Client,
    pub(super) services: to::Services,
}

/// The files as they were seen: their times and sizes.
pub(super) type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

impl Files {
    /// Reads them with the checks of `outbox check`.
    ///
    /// # Errors
    ///
    /// Every mistake, as text for the developer.
    pub(super) fn read(&self) -> Result<Wiring, String> {
        let file = self.router.display().to_string();
        let bytes = std::fs::read(&self.router).map_err(|error| {
            format!(
                "error: failed to read {file}: {error}\n  pass --router FILE; the README shows what is in it"
            )
        })?;
        let text = outbox_event_router::decode(&file, bytes).map_err(|report| report.to_string())?;
        let sources = Sources { protos: self.proto.clone(), ..Sources::default() };
        let Examined { router, report, contract } = examine(&file, text, Some(&sources), &|| Ok(None))
            .map_err(|stopped| format!("error: {}\n  {}", stopped.problem, stopped.remedy))?;
        let contract = match contract {
            Some(contract) if report.count(Severity::Error) == 0 => contract,
            _ => return Err(report.to_string()),
        };
        let services = to::services(&router, &self.to);
        let client = Client::new(
            &router,
            &Services {
                endpoints: &to::endpoints(&services),
                encodings: &self.encodings,
                file: None,
                only: &[],
                contract: Some(&contract),
                header_prefixes: &self.header_prefixes,
            },
        )
        .map_err(|error| format!("error: {}\n  {}", Chain(&error), error.remedy()))?;
        Ok(Wiring { router, contract, client, services })
    }

    pub(super) fn look(&self) -> Seen {
        let mut seen = Seen::new();
        look(&self.router, 0, &mut seen);
        for proto in &self.proto {
            look(proto, 0, &mut seen);
        }
        seen
    }
}

/// A file that is named, and every .proto file below a folder.
fn look(path: &Path, depth: usize, seen: &mut Seen) {
    let Ok(found) = std::fs::metadata(path) else { return };
    if found.is_file() {
        seen.insert(path.to_owned(), (found.modified().ok(), found.len()));
        return;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    for entry in entries.filter(|_| depth < DEPTH_MAX) {
        if entry.extension().is_some_and(|extension| extension == "proto") || entry.is_dir() {
            look(&entry, depth + 1, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a change, a new file and a removed file are seen, and files of others are not.
    #[test]
    fn changes_of_the_files_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(file("proto/acme")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(file(name), text).unwrap();
        write("event_router.yaml", "event: []");
        let files = Files {
            router: file("event_router.yaml"),
            proto: vec![file("proto")],
            to: Vec::new(),
            encodings: Vec::new(),
            header_prefixes: Vec::new(),
        };
        let mut before = files.look();
        assert_eq!(before.len(), 1);
        for (name, text, is_seen) in [
            ("event_router.yaml", "event: [] ", true),
            ("proto/acme/card.proto", "", true),
            ("proto/acme/card.proto", "//", true),
            ("proto/acme/card.proto~", "", false),
            ("README.md", "", false),
        ] {
            write(name, text);
            let now = files.look();
            assert_eq!(now != before, is_seen, "{name}");
            before = now;
        }
        std::fs::remove_file(file("proto/acme/card.proto")).unwrap();
        assert_ne!(files.look(), before);
    }
}
