use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::operator::{ROUTER, paste, shell};
use crate::world::{PATIENCE, World};

/// Guards promise 8: `status --watch` looks again and again, follows what changes, and ends at a signal with the exit code of
/// its last look.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_at_a_signal_with_its_last_look() {
    for signal in ["INT", "TERM"] {
        let mut world = World::new(ROUTER).await;
        let router = world.router_file.display().to_string();
        let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
        let mut watch = shell(&env, "exec outbox status --watch 1s").stdout(Stdio::piped()).spawn().unwrap();
        let pid = watch.id().unwrap().to_string();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut until = async |text: &str| {
            let found = async {
                loop {
                    let line = lines.next_line().await.unwrap().expect("it goes on");
                    assert!(!line.contains('\u{1b}'), "no terminal: {line}");
                    if line.contains(text) {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {text}"));
        };
        until("no relay leads").await;
        world.relay();
        world.worker();
        until("Nothing is stuck.").await;
        let killed = Command::new("kill").args([&format!("-{signal}"), &pid]).status().await.unwrap();
        assert!(killed.success());
        // What it printed meanwhile must not block it.
        while lines.next_line().await.unwrap().is_some() {}
        let ended = tokio::time::timeout(PATIENCE, watch.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0), "{signal}: {ended:?}");
        world.finish().await;
    }
}

/// Guards promise 8: a watch goes on while a server is away. It ends when its reader is gone, and with unusable arguments.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_reader() {
    let world = World::new(ROUTER).await;
    let env = [("DATABASE_URL", world.url.as_str())];
    let said = paste(&env, "cd / && outbox status --watch 1s | head -n 1").await;
    assert!(said.code == 0 && said.out.ends_with('Z'), "a time line: {said:?}");
    let away = [("DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/cards")];
    let said = paste(&away, "cd / && outbox status --watch 1s | head -n 6").await;
    let looks = said.out.matches("can't connect to its database").count();
    assert!(looks == 2 && !said.out.contains("hunter2"), "{said:?}");
    for arguments in ["--watch 0s", "--watch --router /nowhere.yaml"] {
        let said = paste(&env, &format!("outbox status {arguments}")).await;
        assert_eq!(said.code, 2, "{arguments}: {said:?}");
    }
    world.finish().await;
}
