//! Commands and processes on the transport `aws`, with or without the database.

use serde_json::Value;

use crate::cloud::Cloud;
use crate::operator::{Said, paste};
use crate::world::World;

/// A router whose queue has no worker.
pub(crate) const LYING: &str = "
event:
  - name: event_lying
    subscriber:
      - id: Test/Lying
";

/// Runs commands and processes with the environment of the emulator.
pub(crate) struct Desk<'a> {
    world: &'a World,
    env: Vec<(&'a str, &'a str)>,
    pub(crate) router: String,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(world: &'a World, cloud: &'a Cloud) -> Self {
        Self { world, env: cloud.environment(), router: world.router_file.display().to_string() }
    }

    /// Runs a command of `outbox` without the database. A redrive or a drop must name its test's own RPC: the table is shared, and
    /// one for every RPC keeps those of other tests from beginning.
    pub(crate) async fn outbox(&self, args: &str) -> Said {
        self.paste(&format!("outbox {args}")).await
    }

    pub(crate) async fn paste(&self, line: &str) -> Said {
        let mut env = self.env.clone();
        env.push(("OUTBOX_ROUTER", &self.router));
        paste(&env, line).await
    }

    pub(crate) async fn with_database(&self, line: &str) -> Said {
        let mut env = self.env.clone();
        env.extend([("OUTBOX_ROUTER", self.router.as_str()), ("DATABASE_URL", self.world.url.as_str())]);
        paste(&env, line).await
    }

    pub(crate) async fn letters(&self, filter: &str) -> Vec<Value> {
        let said = self.outbox(&format!("dlq list --format json {filter}")).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.json().as_array().unwrap().clone()
    }
}
