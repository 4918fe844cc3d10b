//! `ops/container`: what Compose runs without more is there, and fits.

use std::collections::BTreeSet;

use outbox_event_router::Router;
use outbox_event_router::services::Services;
use regex::Regex;
use testkit::process::root;

/// Guards: every path in compose.yaml exists, and every path that another repository replaces has a variable.
#[test]
fn the_paths_of_compose_exist_and_can_be_replaced() {
    let folder = root().join("ops/container");
    let compose = std::fs::read_to_string(folder.join("compose.yaml")).unwrap();
    let mount = Regex::new(r"(?m)^ +- (?:\$\{(OUTBOX_[A-Z_]+):-)?(\.[^:}]+)\}?:/").unwrap();
    let mut variables = BTreeSet::new();
    let mut mounts = 0;
    for found in mount.captures_iter(&compose) {
        mounts += 1;
        assert!(folder.join(&found[2]).exists(), "{}", &found[2]);
        variables.extend(found.get(1).map(|variable| variable.as_str().to_owned()));
    }
    assert!(mounts >= 8, "{mounts}");
    let expected = ["OUTBOX_PROTO_FOLDER", "OUTBOX_ROUTER_FILE", "OUTBOX_SERVICES_FILE"];
    assert_eq!(variables, expected.map(str::to_owned).into());
    let example = std::fs::read_to_string(folder.join(".env.example")).unwrap();
    for variable in variables.iter().map(String::as_str).chain(["OUTBOX_IMAGE"]) {
        assert!(compose.contains(&format!("${{{variable}:-")), "{variable}");
        assert!(example.contains(&format!("# {variable}=")), "{variable}");
    }
}

/// Guards: without more, each service of the sample's event_router.yaml has an address in a container.
#[test]
fn the_services_of_the_sample_have_addresses() {
    let router = Router::read(&root().join("event_router.yaml")).unwrap();
    let text = std::fs::read_to_string(root().join("ops/container/services.yaml")).unwrap();
    let services = Services::parse("services.yaml", &text).unwrap_or_else(|report| panic!("{report}"));
    let named: BTreeSet<&str> = services.entries.iter().map(|entry| entry.name.as_str()).collect();
    let called: BTreeSet<&str> = router.rpcs().map(|(rpc, _)| rpc.service()).collect();
    assert_eq!(named, called);
}
