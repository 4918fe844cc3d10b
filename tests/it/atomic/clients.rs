//! The publishing clients of other languages, each by its own tests. `clients/cases.json` has cases for every client and for
//! the Rust library. Then the rows in the outbox are compared.

use std::collections::BTreeMap;
use std::env::join_paths;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox::{EnqueueError, Entry, EventId};
use sample::proto::card::v1::CardTransactionSettledEvent;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use serde_json::{Value, from_value};
use testkit::process::{copy_dir, root};
use testkit::tools::{self, ToolError};
use tests::proto::every::v1::{EveryKindHappenedEvent, MaybeKeyedEvent, NumberCountedEvent};

use crate::world::{ROUTER, World, programs};

const PACKAGES: [&str; 3] = ["hoge.v1", "card.v1", "every.v1"];
const PROTO: [&str; 4] = [
    "hoge/v1/hoge_event.proto",
    "card/v1/card_event.proto",
    "every/v1/every_event.proto",
    "outbox/options.proto",
];

/// A row of `outbox.event`: name, key, headers, payload.
type Row = (String, Option<String>, Option<String>, String);

#[derive(serde::Deserialize)]
struct Cases {
    accepted: Vec<Case>,
    refused: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    event: String,
    message: Value,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    error: Option<String>,
}

impl Case {
    fn entry(self) -> Entry {
        let message = self.message;
        let entry = match self.event.as_str() {
            "event_hoge_updated" => Entry::new(from_value::<HogeUpdatedEvent>(message).unwrap()),
            "event_card_transaction_settled" => {
                Entry::new(from_value::<CardTransactionSettledEvent>(message).unwrap())
            }
            "event_number_counted" => Entry::new(from_value::<NumberCountedEvent>(message).unwrap()),
            "event_maybe_keyed" => Entry::new(from_value::<MaybeKeyedEvent>(message).unwrap()),
            "event_every_kind_happened" => Entry::new(from_value::<EveryKindHappenedEvent>(message).unwrap()),
            other => panic!("{other} is not known here"),
        };
        let entry = match self.key {
            Some(key) => entry.key(key),
            None => entry,
        };
        self.headers.into_iter().fold(entry, |entry, (name, value)| entry.header(name, value))
    }
}

fn cases() -> Cases {
    let mut written = serde_json::from_str(include_str!("../../../clients/cases.json")).unwrap();
    expand(&mut written);
    let cases: Cases = from_value(written).unwrap();
    assert!(cases.accepted.len() > 10 && cases.refused.len() > 10);
    cases
}

/// `{"repeat": ["x", 3]}` stands for "xxx".
fn expand(value: &mut Value) {
    if let Some(repeat) = value.get("repeat") {
        let times = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
        *value = repeat[0].as_str().unwrap().repeat(times).into();
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(expand),
        Value::Object(values) => values.values_mut().for_each(expand),
        _ => {}
    }
}

async fn rows(world: &World) -> Vec<Row> {
    sqlx::query_as("select name, key, headers, payload from outbox.event order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

/// What the Rust library writes for the accepted cases.
async fn rows_of_rust(world: &World) -> Vec<Row> {
    let rust = world.beside(ROUTER).await;
    let ids: Vec<EventId> = rust.publish_all(cases().accepted.into_iter().map(Case::entry)).await;
    let rows = rows(&rust).await;
    assert_eq!(rows.len(), ids.len());
    rust.finish().await;
    rows
}

/// Guards promise 1: the library refuses what the clients refuse, with the same words and before SQL is sent.
#[tokio::test(flavor = "multi_thread")]
async fn rust_refuses_the_cases_of_the_clients() {
    let world = World::new(ROUTER).await;
    let mut tx = world.pool.begin().await.unwrap();
    for mut case in cases().refused {
        let expected = case.error.take().expect("a refused case has its error");
        let error = case.entry().enqueue(&mut tx).await.expect_err(&expected);
        assert!(!matches!(error, EnqueueError::Insert(_)), "{error}");
        assert!(error.to_string().contains(&expected), "{error}, and not: {expected}");
    }
    tx.rollback().await.unwrap();
    world.finish().await;
}

/// Guards promise 1: the client for TypeScript publishes in the transaction of its caller. It writes what the library writes.
#[tokio::test(flavor = "multi_thread")]
async fn typescript_writes_what_rust_writes() {
    let Some((protoc, node)) =
        or_told(tools::python_protoc().and_then(|it| Ok((it, tools::node_clients()?))), "TypeScript", true)
    else {
        return;
    };
    let world = World::new(ROUTER).await;
    let client = Client::copy("typescript");
    let generated = client.codegen("ts", "gen");
    std::os::unix::fs::symlink(node.join("node_modules"), client.dir().join("node_modules")).unwrap();
    let plugin = node.join("node_modules/.bin/protoc-gen-es");
    let mut messages = client.protoc(&protoc);
    messages.arg(format!("--plugin=protoc-gen-es={}", plugin.display()));
    messages.arg(format!("--es_out={}", generated.display()));
    run(messages.arg("--es_opt=target=ts,import_extension=js"));
    run(client.test("npm", &world).args(["test", "--silent"]));
    assert_eq!(rows(&world).await, rows_of_rust(&world).await, "TypeScript's on the left");
    world.finish().await;
}

/// Guards promise 1: the same for Python.
#[tokio::test(flavor = "multi_thread")]
async fn python_writes_what_rust_writes() {
    let installed = tools::python_protoc()
        .and_then(|protoc| Ok((protoc, [tools::python_protobuf()?, tools::python_psycopg()?])));
    let Some((protoc, packages)) = or_told(installed, "Python", true) else { return };
    let world = World::new(ROUTER).await;
    let client = Client::copy("python");
    let generated = client.codegen("python", "gen");
    run(client.protoc(&protoc).arg(format!("--python_out={}", generated.display())));
    let paths = packages.into_iter().chain([client.dir().join("src"), generated]);
    run(client
        .test("python3", &world)
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .env("PYTHONPATH", join_paths(paths).unwrap()));
    assert_eq!(rows(&world).await, rows_of_rust(&world).await, "Python's on the left");
    world.finish().await;
}

/// Guards promise 1: the same for Go, where it is installed and its modules can be downloaded.
#[tokio::test(flavor = "multi_thread")]
async fn go_writes_what_rust_writes() {
    let client = Client::copy("go");
    let installed = tools::go_modules(&client.dir()).and_then(|go| Ok((go, tools::python_protoc()?)));
    let Some((go, protoc)) = or_told(installed, "Go", false) else { return };
    let world = World::new(ROUTER).await;
    client.codegen("go", "gen/events");
    let descriptors = client.dir().join("descriptors.bin");
    let mut messages = client.protoc(&protoc);
    run(messages.arg("--include_imports").arg("--descriptor_set_out").arg(&descriptors));
    let mut test = client.test(&go, &world);
    run(test.args(["test", "-count=1", "-mod=mod", "./..."]).env("OUTBOX_DESCRIPTORS", descriptors));
    assert_eq!(rows(&world).await, rows_of_rust(&world).await, "Go's on the left");
    world.finish().await;
}

/// A copy of a client's folder, because its tests write beside it.
struct Client(tempfile::TempDir);

impl Client {
    fn copy(name: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let is_source = |name: &str| {
            !matches!(name, "node_modules" | "dist" | "gen" | "build" | "__pycache__")
                && !name.ends_with(".egg-info")
        };
        copy_dir(&root().join("clients").join(name), &copy.path().join("client"), &is_source).unwrap();
        Self(copy)
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("client")
    }

    fn options(&self) -> PathBuf {
        self.0.path().join("options")
    }

    /// The list of events, and `outbox/options.proto`. Returns the directory of the list.
    fn codegen(&self, lang: &str, out: &str) -> PathBuf {
        let out = self.dir().join(out);
        let outbox = programs().join("outbox");
        run(Command::new(&outbox).arg("proto").arg("--out").arg(self.options()));
        let mut codegen = Command::new(&outbox);
        codegen.args(["codegen", "--lang", lang, "--out"]).arg(&out);
        for proto in ["proto", "tests/proto"] {
            codegen.arg("--proto").arg(root().join(proto));
        }
        for package in PACKAGES {
            codegen.args(["--events-package", package]);
        }
        run(codegen.env_remove("OUTBOX_PROTO").env_remove("OUTBOX_EVENTS_PACKAGES"));
        out
    }

    /// protoc for the messages; the caller says what it writes.
    fn protoc(&self, packages: &Path) -> Command {
        let mut protoc = Command::new("python3");
        protoc.args(["-m", "grpc_tools.protoc"]).env("PYTHONPATH", packages);
        for proto in [root().join("proto"), root().join("tests/proto"), self.options()] {
            protoc.arg("-I").arg(proto);
        }
        protoc.args(PROTO);
        protoc
    }

    /// The client's own tests on a database.
    fn test(&self, program: impl AsRef<std::ffi::OsStr>, world: &World) -> Command {
        let mut test = Command::new(program);
        test.current_dir(self.dir())
            .env("DATABASE_URL", &world.url)
            .env("OUTBOX_CASES", root().join("clients/cases.json"));
        test
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// Returns what was installed. Reports loudly what can't be installed; in CI that is a failure if it is needed there.
fn or_told<T>(installed: Result<T, ToolError>, language: &str, needed_in_ci: bool) -> Option<T> {
    // Not eprintln: the output of a passing test is not shown.
    let told = |error| {
        let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: the client for {language}, because {error}\n");
    };
    let installed = installed.map_err(told).ok();
    let is_needed = needed_in_ci && std::env::var_os("CI").is_some();
    assert!(installed.is_some() || !is_needed, "in CI the client for {language} must be tested");
    installed
}
