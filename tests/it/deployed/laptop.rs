//! `outbox dev` and `outbox send` in a folder outside of the repository, as a developer uses them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::browser::Browser;
use connectrpc::ConnectError;
use serde_json::json;
use tempfile::TempDir;
use testkit::process::Process;
use tokio::net::{TcpListener, TcpStream};

use crate::operator::{Said, paste};
use crate::server;
use crate::world::{ROUTER, World, programs, until};

const PROTO: &str = r#"syntax = "proto3";

import "google/protobuf/empty.proto";
import "outbox/options.proto";

enum Event {
  EVENT_UNSPECIFIED = 0;
  EVENT_CARD_ISSUED = 1;
}

message CardIssuedEvent {
  string card_id = 1 [(outbox.key) = true];
}

message IssuedRequest {
  CardIssuedEvent event = 1;
}

service Test {
  rpc Issued(IssuedRequest) returns (google.protobuf.Empty);
}

service Other {
  rpc Issued(IssuedRequest) returns (google.protobuf.Empty);
}
"#;

const ROUTES: &str = "event:
  - name: event_card_issued
    subscriber:
      - id: Test/Issued
";

/// A developer's own repository.
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Self { dir };
        for sub in ["proto", "tmp", "run"] {
            std::fs::create_dir(folder.path(sub)).unwrap();
        }
        // As root Postgres runs as another user, who removes its folder.
        let allow = |path: PathBuf, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(folder.dir.path().to_owned(), 0o755);
        allow(folder.path("tmp"), 0o1777);
        folder.write("proto/card.proto", PROTO);
        folder.write("event_router.yaml", ROUTES);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn left(&self, name: &str) -> Vec<PathBuf> {
        std::fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The noted database and the throwaway server's folder stay within this one.
    fn dev(&self, args: &str, env: &[(&str, &str)]) -> Process {
        let line = format!("cd {} && exec {} dev {args}", self.shown(""), shown(&programs().join("outbox")));
        let (tmp, run) = (self.shown("tmp"), self.shown("run"));
        let env = [&[("TMPDIR", tmp.as_str()), ("XDG_RUNTIME_DIR", run.as_str())], env].concat();
        Process::start(&PathBuf::from("sh"), ["-c", &line], &env).unwrap()
    }

    async fn outbox(&self, command: &str) -> Said {
        let (tmp, run) = (self.shown("tmp"), self.shown("run"));
        let env = [("TMPDIR", tmp.as_str()), ("XDG_RUNTIME_DIR", run.as_str())];
        paste(&env, &format!("cd {} && {command}", self.shown(""))).await
    }

    /// Sends an event, and returns its id.
    async fn send(&self, command: &str) -> outbox::EventId {
        let said = self.outbox(command).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.out.lines().next().unwrap().parse().unwrap()
    }

    fn shown(&self, name: &str) -> String {
        shown(&self.path(name))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Guards the README: on a laptop one command runs everything. An event of the developer's own runs the developer's RPC, a
/// changed router counts at once, and nothing is left at the end.
#[tokio::test(flavor = "multi_thread")]
async fn one_command_runs_everything_on_a_laptop() {
    let world = World::new(ROUTER).await;
    let folder = Folder::new();
    let mut dev = folder.dev(&format!("--to http://{}", world.rpcs.addr), &[]);
    let line = dev.wait_for("export DATABASE_URL=").await.unwrap();
    let url = line.split_once("DATABASE_URL=").unwrap().1.trim().to_owned();
    let example = dev.wait_for("outbox send").await.unwrap();
    let example = example.trim().trim_start_matches("try").trim().to_owned();
    assert_eq!(example, r#"outbox send event_card_issued '{"cardId":"1"}'"#);

    let first = folder.send(&example).await;
    world.rpcs.until_done("Test/Issued", &[first]).await;
    let shown = dev.wait_for("→ Test/Issued ✓").await.unwrap();
    assert!(shown.contains("event_card_issued 1 →") && !shown.contains("cardId"), "{shown}");
    let said = folder.outbox(&format!("outbox why {first}")).await;
    assert!(said.code == 0 && said.out.contains("Test/Issued"), "{said:?}");

    // A mistake is shown, and the old routes stay in use.
    folder.write("event_router.yaml", &ROUTES.replace("Test/Issued", "Test/Isued"));
    dev.wait_for("'Test' has no method 'Isued'").await.unwrap();
    dev.wait_for("stay in use").await.unwrap();
    let second = folder.send(&example).await;
    world.rpcs.until_done("Test/Issued", &[second]).await;

    folder.write("event_router.yaml", &format!("{ROUTES}      - id: Other/Issued\n"));
    dev.wait_for("read again: 1 event, 2 subscribers").await.unwrap();
    let third = folder.send(&example).await;
    world.rpcs.until_done("Test/Issued", &[third]).await;
    world.rpcs.until_done("Other/Issued", &[third]).await;

    assert_eq!(folder.left("tmp").len(), 1, "a throwaway Postgres");
    dev.signal("INT").unwrap();
    assert!(dev.ended().await.unwrap().success());
    assert_eq!((folder.left("tmp"), folder.left("run")), (Vec::new(), Vec::new()));
    let address = url.split_once('@').unwrap().1.split('/').next().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "its Postgres still runs");
    let said = folder.outbox(&example).await;
    assert!(said.code == 2 && said.err.contains("no `outbox dev` runs in this folder"), "{said:?}");
    world.finish().await;
}

/// Guards promise 2 on a laptop: a service that does not run yet gets its events when it starts. They lose no attempt, and one
/// line says that they wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_later_gets_its_events() {
    let world = World::new(ROUTER).await;
    let folder = Folder::new();
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut dev =
        folder.dev(&format!("--to Test=http://{address} --payloads"), &[("DATABASE_URL", &world.url)]);
    dev.wait_for("try").await.unwrap();
    let sent = folder.send("printf '{\"card_id\": \"secret-7\"}' | outbox send event_card_issued -").await;
    dev.wait_for(&format!("Test is not running at http://{address}: its events wait")).await.unwrap();

    let listener = TcpListener::bind(address).await.unwrap();
    let rpcs = world.rpcs.clone();
    tokio::spawn(async move {
        let _ =
            server::serve(listener, |_| true, move |call| rpcs.handle(call), std::future::pending()).await;
    });
    world.rpcs.until_done("Test/Issued", &[sent]).await;
    assert!(world.rpcs.calls_of(sent).iter().all(|called| called.attempt == 1));
    // The next lines: until now nothing else was said.
    assert_eq!(dev.line().await.unwrap(), "· Test is running");
    let called = dev.line().await.unwrap();
    assert!(called.contains("event_card_issued secret-7 → Test/Issued ✓"), "{called}");
    assert_eq!(dev.line().await.unwrap(), r#"    {"cardId":"secret-7"}"#);
    world.until_settled().await;
    dev.signal("INT").unwrap();
    assert!(dev.ended().await.unwrap().success());
    assert_eq!((folder.left("tmp"), folder.left("run")), (Vec::new(), Vec::new()));
    world.finish().await;
}

/// Guards: a developer sees events and dead letters as pages, and repairs there. The pages have the routes in use: of a changed
/// file, and of the last good one after a mistake. They show no payload, also with --payloads.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_beside_the_rest() {
    let world = World::new(ROUTER).await;
    let folder = Folder::new();
    world.rpcs.on("Test/Issued", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let mut dev = folder.dev(&format!("--to http://{} --payloads", world.rpcs.addr), &[]);
    let pages = Browser::of_dev(&mut dev).await;
    let event = folder.send("outbox send event_card_issued '{\"cardId\":\"secret-7\"}'").await;
    dev.wait_for("dead letter").await.unwrap();
    let (page, redrive) =
        (format!("/event/{event}"), "/dead/redrive?rpc=Test%2FIssued&code=invalid_argument");
    until("the event's page tells its death", async || {
        pages.json(&page).await["deliveries"][0]["state"] == "dead"
    })
    .await;
    until("Now has the RPC and its dead letter", async || {
        let now = pages.json("/").await;
        now["rpcs"][0]["rpc"] == "Test/Issued" && now["rpcs"][0]["dead"] == 1
    })
    .await;
    let shown = [pages.shown("/").await, pages.shown(&page).await, pages.shown("/dead").await];
    assert!(shown.iter().all(|shown| shown.contains("Test/Issued")), "{shown:?}");
    assert!(!shown[1].contains("cardId"), "no payload: {}", shown[1]);
    // What a page offers to paste works in this folder, without an address.
    let is_short =
        shown[0].contains("outbox dlq list --rpc Test/Issued") && !shown[0].contains("--database-url");
    assert!(is_short, "{}", shown[0]);

    world.rpcs.on("Test/Issued", |_| Box::pin(async { Ok(()) }));
    let group = "rpc=Test%2FIssued&code=invalid_argument&rate=50&canary=0&stop_if_dead=5";
    assert_eq!(pages.post(redrive, "/dead/redrive", group).await.status, 303);
    world.rpcs.until_done("Test/Issued", &[event]).await;
    dev.wait_for("→ Test/Issued ✓").await.unwrap();

    folder.write("event_router.yaml", &format!("{ROUTES}      - id: Other/Issued\n"));
    dev.wait_for("read again: 1 event, 2 subscribers").await.unwrap();
    let rpcs = async || {
        let routes = pages.json("/routes").await;
        routes.as_array().unwrap().iter().map(|route| route["rpc"].clone()).collect::<Vec<_>>()
    };
    let both = [json!("Test/Issued"), json!("Other/Issued")];
    assert_eq!(rpcs().await, both);
    folder.write("event_router.yaml", "event: {");
    dev.wait_for("stay in use").await.unwrap();
    assert_eq!(rpcs().await, both);
    until("Now has the new RPC", async || pages.shown("/").await.contains("Other/Issued")).await;
    dev.signal("INT").unwrap();
    assert!(dev.ended().await.unwrap().success());
    world.finish().await;
}

/// Guards: a console is nowhere but on this machine, and only where it is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_where_it_is_wanted() {
    let world = World::new(ROUTER).await;
    let folder = Folder::new();
    let database = [("DATABASE_URL", world.url.as_str())];
    for (args, said) in [
        ("--console 0.0.0.0:0", "others reach that address"),
        ("--console 127.0.0.1:0 --no-console", "cannot be used with"),
        (&format!("--console {}", world.rpcs.addr), "the console can't listen on"),
    ] {
        let mut dev = folder.dev(args, &database);
        dev.wait_for(said).await.unwrap();
        assert_eq!(dev.ended().await.unwrap().code(), Some(2), "{args}");
    }
    let mut dev = folder.dev("--no-console", &database);
    let mut told = String::new();
    while !told.contains("outbox send") {
        told.push_str(&dev.line().await.unwrap());
    }
    assert!(!told.contains("console"), "{told}");
    dev.signal("INT").unwrap();
    assert!(dev.ended().await.unwrap().success());
    world.finish().await;
}

/// Guards: `outbox send` refuses what no subscriber could read, and says what to write instead. Nothing is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_event_is_refused_with_the_remedy() {
    let world = World::new(ROUTER).await;
    let folder = Folder::new();
    let send =
        async |args: &str| folder.outbox(&format!("DATABASE_URL={} outbox send {args}", world.url)).await;
    for (args, problem, remedy) in [
        ("event_card_isued", "there is no event 'event_card_isued'", "did you mean 'event_card_issued'?"),
        ("CardIssuedEvent", "there is no event 'CardIssuedEvent'", "did you mean 'event_card_issued'?"),
        (r#"event_card_issued '{"cardIdd":"secret-7"}'"#, "has no field 'cardIdd'", "did you mean 'cardId'?"),
        (r#"event_card_issued '{"cardId":777}'"#, "the field 'cardId' is not", "it is a text"),
        ("event_card_issued --key 1", "has its key in the field 'cardId'", "leave out --key"),
        (
            "event_card_issued --header X-Tenant=secret-7",
            "header `X-Tenant` is malformed",
            "a prefix of your own",
        ),
        ("event_card_issued --proto nowhere", "nowhere", "pass --proto DIR"),
    ] {
        let said = send(args).await;
        assert!(said.code == 2 && said.out.is_empty(), "{args}: {said:?}");
        assert!(said.err.contains(problem) && said.err.contains(remedy), "{args}: {said:?}");
        assert!(!said.err.contains("secret"), "{args}: {said:?}");
    }
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.event").await, 0);

    let said = send(r#"event_card_issued '{"card_id":"1"}' --header acme-tenant=t-1"#).await;
    assert!(said.code == 0 && said.out.contains("outbox why "), "{said:?}");
    let row: (String, Option<String>, Option<String>) =
        sqlx::query_as("select payload, key, headers from outbox.event")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let expected = (r#"{"cardId":"1"}"#, Some("1"), Some(r#"{"acme-tenant":"t-1"}"#));
    assert_eq!((row.0.as_str(), row.1.as_deref(), row.2.as_deref()), expected);
    let said = send("event_card_issued").await;
    assert!(said.code == 0 && said.err.contains("it has no key, because 'cardId' is not set"), "{said:?}");
    world.finish().await;
}

/// Guards UPGRADING.md: `outbox dev` leaves a schema `outbox` of another product as it is, and names the remedies.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_product_ends_dev() {
    let world = World::new(ROUTER).await;
    world.execute("drop schema outbox cascade").await;
    world.execute("create schema outbox").await;
    world.execute("create table outbox.event (mine int)").await;
    let folder = Folder::new();
    let mut dev = folder.dev("--to http://127.0.0.1:9", &[("DATABASE_URL", &world.url)]);
    let said = dev.wait_for("is of another product").await.unwrap();
    assert!(said.contains("it has event, and belongs to ") && said.contains("rename that one"), "{said}");
    dev.wait_for("use another database, or none").await.unwrap();
    assert!(!dev.ended().await.unwrap().success());
    let columns: String = world
        .scalar("select string_agg(attname, ',') from pg_attribute where attrelid = 'outbox.event'::regclass and attnum > 0")
        .await;
    assert_eq!(columns, "mine");
    world.execute("drop schema outbox cascade").await;
    world.finish().await;
}
