//! The company's services: built with its own tools, started, and what they print.

use std::path::Path;

use testkit::process::{self, Process};
use tokio::sync::Mutex;

use super::folder::Company;
use super::secrets;

/// The place of this repository's crates in `tests/company/rust/Cargo.toml`.
const CRATES: &str = "../../../crates/";

/// Both tests build into one directory, so that dependencies are compiled once.
static BUILDING: Mutex<()> = Mutex::const_new(());

/// Generates, type-checks and compiles all of them.
pub(super) async fn build(company: &Company) {
    company.done(&[], "buf generate").await;
    company.done(&[], "tsc --project ts").await;

    let root = process::root().canonicalize().unwrap();
    let crates = format!("{}/", root.join("crates").display());
    company.edit("rust/Cargo.toml", |text| text.replace(CRATES, &crates));
    // The company has the versions that are tested, and need not download others.
    std::fs::copy(root.join("Cargo.lock"), company.file("rust/Cargo.lock")).unwrap();
    let target = std::path::absolute(process::target().join("company")).unwrap();
    let _building = BUILDING.lock().await;
    cargo_build(company, &target).await;
    // The other test replaces the program.
    std::fs::copy(target.join("debug/acme-ledger"), company.file("rust/acme-ledger")).unwrap();
}

/// From the machine's cache of crates, and from the registry only if something is missing there.
async fn cargo_build(company: &Company, target: &Path) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = target.display().to_string();
    let env = [("CARGO_TARGET_DIR", target.as_str()), ("CARGO_INCREMENTAL", "0")];
    let line = format!("cd rust && {cargo} build --quiet --color never");
    let ran = company.run(&env, &format!("{line} --offline")).await;
    let err = match ran.code {
        0 => ran.err,
        _ if ran.err.contains("offline") => {
            let ran = company.run(&env, &line).await;
            assert_eq!(ran.code, 0, "the company's Rust service does not build:\n{}", ran.err);
            ran.err
        }
        _ => panic!("the company's Rust service does not build:\n{}", ran.err),
    };
    assert!(!err.contains("warning:"), "a company that depends on `outbox` sees warnings:\n{err}");
}

/// A running service, and all that it has printed.
pub(super) struct Service {
    name: &'static str,
    process: Process,
    pub(super) port: u16,
    seen: Vec<String>,
}

/// The ledger in Rust, and the notifications in TypeScript.
pub(super) struct Services {
    pub(super) ledger: Service,
    pub(super) notify: Service,
}

impl Services {
    /// On a laptop: no certificate and no token.
    pub(super) async fn on_a_laptop(company: &Company) -> Self {
        Self::start(company, &[]).await
    }

    /// The ledger asks for a token. The notifications ask for a token and a client certificate.
    pub(super) async fn in_production(company: &Company) -> Self {
        secrets::write(&company.file("secrets"));
        let (dir, token) = (company.file("secrets"), company.file("secrets/ledger-accepts"));
        let (dir, token) = (dir.display().to_string(), token.display().to_string());
        Self::start(company, &[("ACME_SECRETS", &dir), ("ACME_TOKEN_FILE", &token)]).await
    }

    async fn start(company: &Company, env: &[(&str, &str)]) -> Self {
        let ledger = company.start(env, "rust/acme-ledger serve");
        let notify = company.start(env, "node ts/dist/serve.js");
        Self {
            ledger: Service::of("the ledger", ledger).await,
            notify: Service::of("the notifications", notify).await,
        }
    }

    /// Waits until both services have got the event of a card, with every field as it was published.
    pub(super) async fn get(&mut self, card: &str, version: &str) {
        self.ledger.prints(&recorded(card)).await;
        self.notify.prints(&notified(card, version)).await;
    }

    pub(super) async fn stop(self) {
        for service in [self.ledger, self.notify] {
            service.process.kill().await.unwrap();
        }
    }
}

impl Service {
    async fn of(name: &'static str, mut process: Process) -> Self {
        let line = process.wait_for("listening ").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{name}: no port in {line:?}"));
        Self { name, process, port, seen: Vec::new() }
    }

    /// Waits until it has printed a line. Lines may come in any order.
    pub(super) async fn prints(&mut self, expected: &str) {
        let wait = async {
            while !self.seen.iter().any(|line| line == expected) {
                let Some(line) = self.process.line().await else { return false };
                self.seen.push(line);
            }
            true
        };
        let printed = tokio::time::timeout(crate::world::PATIENCE, wait).await;
        assert_eq!(
            printed,
            Ok(true),
            "{} printed no {expected:?}, but:\n{}",
            self.name,
            self.seen.join("\n")
        );
    }

    pub(super) fn has_printed(&self, text: &str) -> bool {
        self.seen.iter().any(|line| line.contains(text))
    }
}

/// What every language publishes of a card.
const SHOWN: &str = "person:Jürgen 9007199254740993 plan/a=gold,team=blue";

pub(super) fn recorded(card: &str) -> String {
    format!("recorded {card} 1795611727.500000000 CARD_KIND_VIRTUAL {SHOWN}")
}

pub(super) fn notified(card: &str, version: &str) -> String {
    format!("notified {version} {card} 2026-11-25T13:02:07.500Z VIRTUAL {SHOWN}")
}

/// The payload of a card, as JSON.
pub(super) fn payload(card: &str) -> String {
    format!(
        r#"{{"cardId":"{card}","issuedAt":"2026-11-25T13:02:07.500Z","kind":"CARD_KIND_VIRTUAL","person":"Jürgen","limitMinor":"9007199254740993","labels":{{"team":"blue","plan/a":"gold"}}}}"#
    )
}
