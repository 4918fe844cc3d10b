//! Which source a binary is built from.

use std::process::Command;

use testkit::process::root;
use testkit::scrape;

use crate::world::{ROUTER, World, programs};

/// Guards: `--version` of each binary says its version and its revision, so that a report of a fault names the source.
#[test]
fn each_binary_says_its_revision() {
    for program in ["outbox", "relay", "worker"] {
        let output = Command::new(programs().join(program)).arg("--version").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (version, revision) = (env!("CARGO_PKG_VERSION"), outbox_revision::REVISION);
        assert_eq!(said, format!("{program} {version} ({revision})\n"));
    }
}

/// Guards: without OUTBOX_REVISION the revision is the commit of this repository, and not of one around it.
#[test]
fn the_revision_is_the_commit() {
    if option_env!("OUTBOX_REVISION").is_some_and(|given| !given.is_empty()) || !root().join(".git").exists()
    {
        return;
    }
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).output().unwrap();
    // Git refuses a repository of another user.
    if !git.status.success() {
        return;
    }
    let head = String::from_utf8(git.stdout).unwrap();
    let revision = outbox_revision::known().unwrap();
    assert!(revision.len() == 12 && head.starts_with(revision), "{revision} and {head}");
}

/// Guards promise 8: the metric of a build has the revision, so that a mixed deployment is seen.
#[tokio::test(flavor = "multi_thread")]
async fn the_metric_has_the_revision() {
    let world = World::new(ROUTER).await;
    for (program, mut process) in [("relay", world.relay_process()), ("worker", world.worker_process())] {
        let addr = scrape::addr(&mut process).await.unwrap();
        let metrics = scrape::get(&addr, "/metrics").await.unwrap().1;
        let (version, revision) = (env!("CARGO_PKG_VERSION"), outbox_revision::REVISION);
        let expected = format!(
            "outbox_build_info{{program=\"{program}\",version=\"{version}\",revision=\"{revision}\"}} 1"
        );
        assert!(metrics.lines().any(|line| line == expected), "{expected}: {metrics}");
        process.stop().await.unwrap();
    }
    world.finish().await;
}
