//! The demo's part on AWS: an emulator, and what `terraform apply` makes of event_router.yaml.

use std::collections::BTreeMap;

use serde::Deserialize;
use tempfile::TempDir;

use super::failure::Failure;
use super::show::Show;
use testkit::emulator::Emulator;
use testkit::process::root;
use testkit::terraform::Terraform;

pub(super) struct Cloud {
    emulator: Emulator,
    /// The module's output: the environment of the binaries.
    environment: BTreeMap<String, String>,
    _dir: TempDir,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    dlq_name: String,
}

impl Cloud {
    pub(super) fn start(show: &Show) -> Result<Self, Failure> {
        show.step(
            "starting an emulator of AWS on loopback (ministack), and applying infra/ with event_router.yaml",
        );
        let dir = tempfile::tempdir()?;
        let terraform =
            Terraform::copy(dir.path(), &std::fs::read_to_string(root().join("event_router.yaml"))?)?;
        let emulator = Emulator::provisioned(&terraform)?;
        let rules: BTreeMap<String, String> = serde_json::from_str(&terraform.output("rules")?)?;
        for (route, rule) in rules {
            show.note(&format!("rule  {rule}  {route}"));
        }
        let queues: BTreeMap<String, Queue> = serde_json::from_str(&terraform.output("queues")?)?;
        for (rpc, Queue { name, dlq_name }) in queues {
            show.note(&format!("queue {name} and {dlq_name}  {rpc}"));
        }
        let by_binary: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(&terraform.output("environment")?)?;
        Ok(Self { emulator, environment: by_binary.into_values().flatten().collect(), _dir: dir })
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let emulator = self.emulator.environment().map(|(name, value)| (name.to_owned(), value.to_owned()));
        emulator.into_iter().chain(self.environment.clone()).collect()
    }
}
