//! The subscribers of `docs/subscribe.md`, called by the real worker.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

use outbox::EventId;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::process::{Process, root};
use testkit::tools::{self, ToolError};

use crate::operator::outbox;
use crate::server;
use crate::world::{World, cluster, new_database};

mod subscriber; // the code in Rust

const RPC: &str = "NotificationService/NotifyHogeUpdated";
const ROUTER: &str = "
event:
  - name: event_hoge_updated
    subscriber:
      - { id: NotificationService/NotifyHogeUpdated }
";

/// The page's code in a language.
fn shown(language: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/subscribe.md")).unwrap();
    let begin = format!("\n```{language}\n");
    let code = page.split(&begin).nth(1).unwrap_or_else(|| panic!("no code in {language}"));
    code.split("\n```\n").next().unwrap().to_owned() + "\n"
}

/// The subscriber's own database. It has the inbox and no outbox.
async fn notices() -> (PgPool, String) {
    let url = new_database(cluster()).await;
    let pool = PgPoolOptions::new().connect(&url).await.unwrap();
    outbox_schema::inbox::migrate(&mut pool.acquire().await.unwrap()).await.unwrap();
    // A second effect would be a second row.
    let table = "create table notice (hoge_id text not null, sequence bigint not null)";
    sqlx::query(table).execute(&pool).await.unwrap();
    (pool, url)
}

async fn noticed(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as("select hoge_id, sequence from notice").fetch_all(pool).await.unwrap()
}

/// A subscriber on this port gets an event, has its effect once though it is called again, and refuses an event that has no id.
async fn has_its_effect_once(mut world: World, port: u16, pool: &PgPool) {
    world.relay();
    let endpoint = format!("NotificationService=http://127.0.0.1:{port}");
    let worker = world.worker_process_with(&["--endpoint", &endpoint]);
    let id = world.publish(HogeUpdatedEvent { hoge_id: "hoge-7".to_owned() }).await;
    let sequence: i64 = world.scalar("select seq from outbox.event").await;
    done(&world, id).await;
    assert_eq!(noticed(pool).await, [("hoge-7".to_owned(), sequence)]);

    // The record of its success is lost, and the delivery comes again.
    world.execute(&format!("select outbox.forget('{id}', '{RPC}')")).await;
    world
        .execute(&format!(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select nextval('outbox.delivery_seq'), queue, event_id, body, now(), 0, now(), '', ''
             from outbox.delivery where event_id = '{id}'"
        ))
        .await;
    done(&world, id).await;
    assert_eq!(noticed(pool).await, [("hoge-7".to_owned(), sequence)], "called twice, done once");

    world.publish(HogeUpdatedEvent { hoge_id: String::new() }).await;
    world.until("select exists (select from outbox.dead_letter where code = 'invalid_argument')").await;
    assert_eq!(noticed(pool).await.len(), 1);
    worker.stop().await.unwrap();
    world.finish().await;
}

async fn done(world: &World, id: EventId) {
    world.until(&format!("select exists (select from outbox.done where event_id = '{id}')")).await;
    world.until_settled().await;
}

/// Guards `docs/subscribe.md` and promise 3: the code in Rust is what the page shows, and has its effect once.
#[tokio::test(flavor = "multi_thread")]
async fn the_subscriber_in_rust_has_its_effect_once() {
    let source = include_str!("subscribers/subscriber.rs");
    assert!(source.ends_with(&shown("rust").replace("async fn notify", "pub(super) async fn notify")));
    let world = World::new(ROUTER).await;
    let (pool, _) = notices().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = pool.clone();
    tokio::spawn(server::serve(
        listener,
        |_| true,
        move |call| {
            let own = own.clone();
            Box::pin(async move {
                let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
                let hoge_id = body["event"]["hogeId"].as_str().unwrap_or_default();
                subscriber::notify(&own, &call.headers, hoge_id).await
            })
        },
        std::future::pending(),
    ));
    has_its_effect_once(world, port, &pool).await;
}

/// Guards `docs/subscribe.md` and promise 3: the code in TypeScript, as Node.js runs it. Its types are not checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_subscriber_in_typescript_has_its_effect_once() {
    let Some(packages) = or_told(tools::node_packages("pg", &["pg@8.23.1"]), "TypeScript") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(packages.join("node_modules"), dir.path().join("node_modules")).unwrap();
    // The code names no type, so that it is JavaScript, too.
    let file = dir.path().join("subscriber.mjs");
    std::fs::write(&file, shown("ts")).unwrap();
    runs_as("node", &file, &[]).await;
}

/// Guards `docs/subscribe.md` and promise 3: the code in Python.
#[tokio::test(flavor = "multi_thread")]
async fn the_subscriber_in_python_has_its_effect_once() {
    let package = tools::python_package("psycopg[binary]==3.3.9", "psycopg");
    let Some(packages) = or_told(package, "Python") else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("subscriber.py");
    std::fs::write(&file, shown("python")).unwrap();
    runs_as("python3", &file, &[("PYTHONPATH", packages.to_str().unwrap())]).await;
}

async fn runs_as(program: &str, file: &std::path::Path, env: &[(&str, &str)]) {
    let world = World::new(ROUTER).await;
    let (pool, url) = notices().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listens_on = port.to_string();
    let env = [env, &[("DATABASE_URL", url.as_str()), ("PORT", &listens_on)]].concat();
    let mut server = Process::start(&PathBuf::from(program), [file], &env).unwrap();
    server.wait_for("listening").await.unwrap();
    let said =
        outbox(&world, &format!("doctor --endpoint NotificationService=http://127.0.0.1:{port}")).await;
    assert!(said.out.contains("speaks as the worker does"), "{said:?}");
    has_its_effect_once(world, port, &pool).await;
    server.kill().await.unwrap();
}

/// Returns what was installed. Reports loudly what can't be installed; in CI that is a failure.
fn or_told(made: Result<PathBuf, ToolError>, language: &str) -> Option<PathBuf> {
    // Not eprintln: the output of a passing test is not shown.
    let told = |error| {
        let _ =
            writeln!(std::io::stderr(), "\n!!! NOT TESTED: the subscriber in {language}, because {error}\n");
    };
    let made = made.map_err(told).ok();
    assert!(made.is_some() || std::env::var_os("CI").is_none(), "in CI {language} must be tested");
    made
}

/// Guards `docs/subscribe.md` and promise 4: with the page's statement an older event of a key changes nothing, and a source
/// has its own order.
#[tokio::test(flavor = "multi_thread")]
async fn the_statement_keeps_what_is_newest() {
    let (pool, _) = notices().await;
    let table = "create table hoge_copy (source text, hoge_id text, sequence bigint, name text, primary key (source, hoge_id))";
    sqlx::query(table).execute(&pool).await.unwrap();
    let statement = shown("sql");
    for (source, sequence, name) in [("cards", 7_i64, "new"), ("cards", 5, "old"), ("restored", 2, "other")] {
        sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .bind(source)
            .bind("hoge-7")
            .bind(sequence)
            .bind(name)
            .execute(&pool)
            .await
            .unwrap();
    }
    let kept: Vec<(String, i64, String)> =
        sqlx::query_as("select source, sequence, name from hoge_copy order by source")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(
        kept,
        [("cards".to_owned(), 7, "new".to_owned()), ("restored".to_owned(), 2, "other".to_owned())]
    );
}
