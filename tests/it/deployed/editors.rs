//! The JSON schemas of `event_router.yaml` and `services.yaml`, which editors use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox_event_router::services::Services;
use outbox_event_router::{Policy, Router};
use serde_json::Value;
use testkit::process::root;
use testkit::tools;

use crate::world::{cluster, shared_turn};

/// The refused files that a schema takes: an editor sees values, and no spelling of YAML, no sum of a duration, and no two
/// entries at once.
const BEYOND_A_SCHEMA: [&str; 37] = [
    "_directive",
    "_escape",
    "_exponent",
    "_float",
    "_folded",
    "_hex",
    "_octal",
    "_plus",
    "anchor_",
    "backoff_max_below",
    "backoff_max_thirteen",
    "backoff_min_zero",
    "backoff_upside_down",
    "carriage_return",
    "character",
    "document_end",
    "json_without_spaces",
    "key_with_question_mark",
    "latin1",
    "name_n.",
    "name_no.",
    "name_on.",
    "name_y.",
    "name_yes.",
    "overlong",
    "queue_of_two",
    "queues_of_one",
    "separator",
    "surrogate",
    "tab_",
    "tag",
    "timeout_a_nanosecond",
    "timeout_too_long",
    "timeout_too_short",
    "twice",
    "two_policies",
    "yaml_",
];

fn schema(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root().join("docs").join(name)).unwrap()).unwrap()
}

/// The files below these folders that the schema refuses, judged as an editor's language server does.
fn refused(schema: &str, folders: &[PathBuf]) -> BTreeSet<String> {
    let packages = tools::editors().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new("node")
        .arg(root().join("tests/it/deployed/editors.mjs"))
        .arg(root().join("docs").join(schema))
        .args(folders)
        .env("PACKAGES", packages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = |line: &str| Path::new(line).file_name().unwrap().to_str().unwrap().to_owned();
    String::from_utf8(output.stdout).unwrap().lines().map(name).collect()
}

/// Guards: an editor with the schema of event_router.yaml refuses no file that the product takes. It takes a refused one only
/// for a reason that no schema can know.
#[test]
fn editors_agree_with_the_product_about_routers() {
    let _turn = shared_turn();
    let routers = root().join("tests/routers");
    let taken = [routers.join("accepted"), routers.join("beyond_aws")];
    assert_eq!(refused("event_router.schema.json", &taken), BTreeSet::new());
    let refused = refused("event_router.schema.json", &[routers.join("refused")]);
    assert!(refused.len() > 200, "{}", refused.len());
    for entry in std::fs::read_dir(routers.join("refused")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let excused = BEYOND_A_SCHEMA.iter().any(|part| name.contains(part));
        assert!(refused.contains(&name) || excused, "the schema takes {name}");
    }
}

/// Guards: the schema of event_router.yaml has the product's limits and keys.
#[test]
fn the_schema_has_the_limits_of_the_product() {
    let schema = schema("event_router.schema.json");
    let subscriber = &schema["definitions"]["subscriber"]["properties"];
    for (key, most) in [
        ("concurrency", Policy::CONCURRENCY_MAX as u64),
        ("rate_per_second", u64::from(Policy::RATE_PER_SECOND_MAX)),
        ("max_attempts", u64::from(Policy::MAX_ATTEMPTS_MAX)),
    ] {
        assert_eq!(subscriber[key]["minimum"], 1, "{key}");
        assert_eq!(subscriber[key]["maximum"], most, "{key}");
    }
    let mut keys: BTreeSet<String> = BTreeSet::from(["event".to_owned()]);
    let event = &schema["definitions"]["event"]["properties"];
    for map in [event, subscriber, &subscriber["backoff"]["properties"]] {
        keys.extend(map.as_object().unwrap().keys().cloned());
    }
    let spelling = std::fs::read_to_string(root().join("infra/router/spelling.yaml")).unwrap();
    let known = spelling.lines().find_map(|line| line.strip_prefix("keys: ")).unwrap();
    assert_eq!(keys, known.split('|').map(str::to_owned).collect());
    let default = Policy::default();
    for (key, value) in [
        ("timeout", format!("{}s", default.timeout.as_secs())),
        ("concurrency", default.concurrency.to_string()),
        ("max_attempts", default.max_attempts.to_string()),
    ] {
        let says = subscriber[key]["description"].as_str().unwrap();
        assert!(says.ends_with(&format!("Default: {value}.")), "{key}: {says}");
    }
}

/// Guards: an editor with the schema of services.yaml takes the example, and refuses what the product refuses.
#[test]
fn editors_agree_with_the_product_about_services() {
    let _turn = shared_turn();
    let folder = cluster().dir().join("services-edited");
    std::fs::create_dir_all(&folder).unwrap();
    let example = std::fs::read_to_string(root().join("docs/services.example.yaml")).unwrap();
    std::fs::write(folder.join("example.yaml"), example).unwrap();
    let mistakes = [
        ("unknown_key", "servce: {}\n"),
        ("list", "service: [a]\n"),
        ("name", "service:\n  'a b': {}\n"),
        ("address", "service:\n  A: { address: 'ftp://a' }\n"),
        ("password", "service:\n  A: { address: 'http://me:secret@a' }\n"),
        ("encoding", "service:\n  A: { encoding: gprc }\n"),
        ("literal_token", "service:\n  A: { token: secret }\n"),
        ("empty_token", "service:\n  A: { token: {} }\n"),
        ("header", "service:\n  A: { headers: { 'x key': v } }\n"),
        ("number", "service:\n  A: { headers: { x-key: 7 } }\n"),
        ("half_an_identity", "service:\n  A: { address: 'https://a', tls: { cert: a.pem } }\n"),
        ("empty_tls", "service:\n  A: { address: 'https://a', tls: {} }\n"),
        ("no_secret", "service:\n  A: { signature: { secret_file: [] } }\n"),
    ];
    for (name, text) in mistakes {
        assert!(Services::parse("services.yaml", text).is_err(), "{name}");
        std::fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
    }
    let expected = mistakes.iter().map(|(name, _)| format!("{name}.yaml")).collect();
    assert_eq!(refused("services.schema.json", &[folder]), expected);
}

/// Guards: the comments that name a schema stand in the files that users copy, and the files stay valid.
#[test]
fn the_examples_name_their_schema() {
    for (file, schema) in [
        ("event_router.yaml", "event_router.schema.json"),
        ("docs/services.example.yaml", "services.schema.json"),
        ("ops/container/services.yaml", "services.schema.json"),
    ] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let named = text.lines().find_map(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let path = root().join(file).parent().unwrap().join(named.unwrap());
        assert!(path.ends_with(schema) && path.is_file(), "{file}: {}", path.display());
    }
    Router::read(&root().join("event_router.yaml")).unwrap();
}
