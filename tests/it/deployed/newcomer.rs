//! A developer's three steps for a new event, in a copy of the repository, with cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::process::{self, Process};

use crate::world::{World, programs};

/// Guards: a new event needs a change of proto/, event_router.yaml and the RPC's implementation, and nothing else. Each
/// forgotten or misspelt step is an error with its remedy.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_takes_three_steps() {
    let copy = Copy::of_the_repository();
    // The test's turn begins here, so that cargo does not run beside a test that measures.
    let world = World::new(&(copy.read("event_router.yaml") + ROUTE)).await;

    // 1. Define the event, first with a mistake.
    copy.edit("proto/card/v1/card_event.proto", |text| {
        text.replace(
            "  EVENT_CARD_TRANSACTION_SETTLED = 1;\n",
            "  EVENT_CARD_TRANSACTION_SETTLED = 1;\n  EVENT_CARD_BLOCKED = 2;\n",
        )
    });
    let said = copy.cargo_fails(&["build", "--package", "sample", "--bins"]);
    for expected in [
        "`EVENT_CARD_BLOCKED` has no message `CardBlockedEvent` in package card.v1",
        "proto/card/v1/card_event.proto:11:3",
        "add `message CardBlockedEvent { … }`",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    copy.edit("proto/card/v1/card_event.proto", |text| {
        text + "\nmessage CardBlockedEvent {\n  string card_id = 1 [(outbox.key) = true];\n}\n"
    });

    // 2. Implement the RPC, because the compiler demands it.
    copy.edit("proto/notification/v1/notification_service.proto", |text| {
        text.replace(
            "service NotificationService {\n",
            "service NotificationService {\n  rpc WarnHolder(WarnHolderRequest) returns (google.protobuf.Empty);\n",
        ) + "\nmessage WarnHolderRequest {\n  card.v1.CardBlockedEvent event = 1;\n}\n"
    });
    let said = copy.cargo_fails(&["build", "--package", "sample", "--bins"]);
    assert!(said.contains("missing: `warn_holder`"), "{said}");
    copy.edit("crates/sample/src/notification.rs", |text| {
        text.replace(
            "NotifyHogeUpdatedRequest, RemindReceiptRequest}",
            "NotifyHogeUpdatedRequest, RemindReceiptRequest, WarnHolderRequest}",
        )
        .replace(
            "impl NotificationService for Notification {\n",
            "impl NotificationService for Notification {
    async fn warn_holder(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, WarnHolderRequest>,
    ) -> ServiceResult<Empty> {
        say(format_args!(\"{} is blocked\", request.event.card_id));
        Response::ok(Empty::default())
    }
",
        )
    });
    copy.cargo(&["build", "--package", "sample", "--bins"]).unwrap_or_else(|said| panic!("{said}"));

    // 3. Add the route; `outbox check` reports its absence until then.
    let checked = |copy: &Copy| copy.run(&programs().join("outbox"), &["check"]);
    let said = checked(&copy).unwrap();
    assert!(said.contains("warning: 'event_card_blocked' has no subscriber"), "{said}");
    copy.edit("event_router.yaml", |text| text + ROUTE);
    assert_eq!(checked(&copy).unwrap(), "ok: 3 events, 4 subscribers\n");

    copy.sees_the_rpc_run(world).await;
    copy.refuses_what_is_no_event();
}

const ROUTE: &str = "
  - name: 'event_card_blocked'
    subscriber:
      - id: 'NotificationService/WarnHolder'
";

struct Copy {
    root: PathBuf,
    /// Beside the project's own, so that dependencies are compiled once.
    target: PathBuf,
}

impl Copy {
    fn of_the_repository() -> Self {
        let root = process::target().join("newcomer/copy");
        let _ = std::fs::remove_dir_all(&root);
        process::copy_dir(&process::root(), &root, &|name| !matches!(name, "target" | ".git")).unwrap();
        Self { root, target: process::target().join("newcomer") }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.root.join(file)).unwrap()
    }

    fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let before = self.read(file);
        let after = change(before.clone());
        assert_ne!(after, before, "{file}");
        std::fs::write(self.root.join(file), after).unwrap();
    }

    /// Returns the output, as an error if cargo failed.
    fn cargo(&self, args: &[&str]) -> Result<String, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        self.run(Path::new(&cargo), &[args, &["--locked", "--color", "never"]].concat())
    }

    fn cargo_fails(&self, args: &[&str]) -> String {
        self.cargo(args).expect_err("this does not compile")
    }

    fn run(&self, program: &Path, args: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(args)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(said.into_owned()) } else { Err(said.into_owned()) }
    }

    async fn sees_the_rpc_run(&self, mut world: World) {
        let serve = |service: &str| {
            let program = self.target.join("debug/sample-server");
            Process::start(&program, ["--service", service], &[]).unwrap()
        };
        let (mut notification, mut afterpay) = (serve("notification"), serve("afterpay"));
        let proto = self.root.join("proto").display().to_string();
        let endpoints = [
            format!("NotificationService=http://{}", listening(&mut notification).await),
            format!("AfterPayService=http://{}", listening(&mut afterpay).await),
        ];
        let mut args = vec!["--proto", &proto];
        args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
        let worker = world.worker_process_with(&args);
        world.relay();
        world.execute(r#"select outbox.enqueue('event_card_blocked', '{"cardId":"c-7"}', 'c-7')"#).await;
        notification.wait_for("c-7 is blocked").await.unwrap();
        let journal = notification.wait_for("WarnHolder").await.unwrap();
        assert!(journal.contains("\"rpc\":\"notification.v1.NotificationService/WarnHolder\""), "{journal}");
        world.until_settled().await;
        for process in [worker, notification, afterpay] {
            process.stop().await.unwrap();
        }
        world.finish().await;
    }

    fn refuses_what_is_no_event(&self) {
        let example = self.root.join("crates/sample/examples/no_event.rs");
        std::fs::create_dir_all(example.parent().unwrap()).unwrap();
        let code = "
use sample::proto::notification::v1::WarnHolderRequest;

pub async fn publish(tx: &mut sqlx::PgTransaction<'_>) -> Result<(), outbox::EnqueueError> {
    outbox::enqueue(tx, &sample::proto::card::v1::CardBlockedEvent::default()).await?;
    outbox::enqueue(tx, &WarnHolderRequest::default()).await?;
    Ok(())
}

fn main() {}
";
        std::fs::write(example, code).unwrap();
        let said = self.cargo_fails(&["build", "--package", "sample", "--example", "no_event"]);
        let expected = [
            "WarnHolderRequest` is not an event",
            "no_event.rs:6:26",
            "to publish it, give it a value in `enum Event` of its package: `EVENT_HOGE_UPDATED` makes `HogeUpdatedEvent` an event",
        ];
        assert!(expected.iter().all(|line| said.contains(line)), "{said}");
        assert!(!said.contains("CardBlockedEvent` is not an event"), "{said}");
    }
}

async fn listening(server: &mut Process) -> String {
    let line = server.wait_for("listening").await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    value["listening"].as_str().unwrap().to_owned()
}
