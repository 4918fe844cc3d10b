//! The operator's commands, run as in a shell, and the commands to paste from their output.

use std::path::PathBuf;
use std::process::Stdio;

use connectrpc::ConnectError;
use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::world::{Called, World, programs};

/// `event_one` is done, dead, or fails for half a day. Calls of `event_two` last minutes, one at a time.
pub(crate) const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 2s
        backoff: { min: 12h, max: 12h }
  - name: event_two
    subscriber:
      - id: Test/Slow
        timeout: 10m
        concurrency: 1
";

/// Exit code and output of `outbox`.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The command to paste that begins with these words.
    #[track_caller]
    pub(crate) fn command(&self, begins: &str) -> String {
        let at = self.out.find(begins).unwrap_or_else(|| panic!("no `{begins}` in {self:?}"));
        self.out[at..].lines().next().unwrap().to_owned()
    }
}

/// Runs a command line as pasted into a shell.
pub(crate) async fn paste(env: &[(&str, &str)], line: &str) -> Said {
    let run = shell(env, line).output();
    let output = tokio::time::timeout(super::world::PATIENCE, run).await.expect("it ends").unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap().trim_end().to_owned(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn shell(env: &[(&str, &str)], line: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> =
        std::iter::once(programs().clone()).chain(std::env::split_paths(&path)).collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs `outbox` with the world's database and router.
pub(crate) async fn outbox(world: &World, args: &str) -> Said {
    let router = world.router_file.display().to_string();
    paste(&[("DATABASE_URL", &world.url), ("OUTBOX_ROUTER", &router)], &format!("outbox {args}")).await
}

/// The number in a call's payload.
pub(crate) fn n(called: &Called) -> i64 {
    let body: Value = serde_json::from_slice(&called.incoming.body).unwrap();
    body["event"]["n"].as_i64().unwrap()
}

/// `event_one` is refused with 13 and fails with 14. `event_two` is answered when the token is cancelled.
pub(crate) fn misbehave(world: &World) -> CancellationToken {
    let answer = CancellationToken::new();
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            match n {
                13 => Err(ConnectError::invalid_argument("no such card")),
                14 => Err(ConnectError::unavailable("down for the night")),
                _ => Ok(()),
            }
        })
    });
    let answered = answer.clone();
    world.rpcs.on("Test/Slow", move |_| {
        let answered = answered.clone();
        Box::pin(async move {
            answered.cancelled().await;
            Ok(())
        })
    });
    answer
}

/// Written past outbox.enqueue, as only an owner can: no bus can carry it.
pub(crate) async fn publish_malformed(world: &World) -> outbox::EventId {
    let id = outbox::EventId::new();
    world
        .execute(&format!(
            "with published as (
                 insert into outbox.event (id, name, key, payload, slot)
                 values ('{id}', 'event_one', 'key-9', 'not json', (select last_value from outbox.event_slot))
                 returning id
             )
             select outbox.wake() from published"
        ))
        .await;
    id
}
