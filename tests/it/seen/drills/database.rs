//! Transactions that stay open, a restart, and a full disk.

use sqlx::{AssertSqlSafe, Connection};
use testkit::cluster::Cluster;

use super::desk::{Drill, ROUTER, one, pasted};
use crate::world::{One, World, until};

/// Guards promise 8, drill 6: a session is idle in the transaction that wrote an event. It is named with its process and
/// application, and the statement that was printed ends it.
#[tokio::test(flavor = "multi_thread")]
async fn drill_6_an_event_in_an_idle_transaction() {
    let mut drill = Drill::start("6", ROUTER).await;
    // The outbox is older than the event that is looked for.
    let before = drill.publish([one(0)]).await;
    drill.world.rpcs.until_done("Test/One", &before).await;
    let mut open = drill.publisher().begin().await.unwrap();
    sqlx::raw_sql("set application_name = 'card batch'").execute(&mut *open).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.unwrap();
    let held = outbox::enqueue(&mut open, One { n: 1 }).await.unwrap();
    drill.incident();
    let after = drill.publish([one(2)]).await;
    drill.world.rpcs.until_done("Test/One", &after).await;
    drill
        .shown(&["oldest transaction", &format!("pid {pid}, card batch"), "idle in transaction, has written"])
        .await;
    let words = ["a transaction in ", &format!("pid {pid} (publisher_"), "card batch", "its own events wait"];
    let named = drill.named(&words).await;
    drill
        .why(
            held,
            &[
                "it may still come with one of these",
                &format!("pid {pid}, card batch"),
                "idle in transaction",
            ],
        )
        .await;
    let old = "outbox_relay_oldest_snapshot_seconds";
    drill.fires("OutboxOldSnapshot", &drill.relay, old, &[], |seconds| seconds > 5.0).await;

    // The text says who may do it: the session's own role.
    let end = pasted(&named.text, "select pg_terminate_backend(");
    sqlx::query(AssertSqlSafe(end)).execute(drill.publisher()).await.unwrap();
    drill.until_well().await;
    drill.why(held, &["no transaction is open that could still commit it"]).await;
    drop(open);
    drill.finish().await;
}

/// Guards promise 8, drill 7: a report keeps an old snapshot. It is shown as one that only reads, and no event waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn drill_7_an_old_snapshot() {
    let mut drill = Drill::start("7", ROUTER).await;
    let mut report = drill.publisher().acquire().await.unwrap().detach();
    sqlx::raw_sql("set application_name = 'monthly report'; begin isolation level repeatable read; select count(*) from pg_class")
        .execute(&mut report)
        .await
        .unwrap();
    drill.incident();
    let shown = drill.shown(&["oldest transaction", "monthly report", "idle in transaction"]).await;
    assert!(shown.code == 0 && !shown.out.contains("has written"), "{shown:?}");
    let oldest = drill.json("status").await["sources"][0]["oldest_transaction"].clone();
    assert!(oldest["application"] == "monthly report" && oldest["writes"] == false, "{oldest}");
    let old = "outbox_relay_oldest_snapshot_seconds";
    drill.fires("OutboxOldSnapshot", &drill.relay, old, &[], |seconds| seconds > 0.0).await;
    let ids = drill.publish((0..10).map(one)).await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    let why = drill.why(ids[9], &["done "]).await;
    assert!(why.code == 0 && !why.out.contains("monthly report"), "{why:?}");

    report.close().await.unwrap();
    until("it is gone", async || !drill.outbox("status").await.out.contains("monthly report")).await;
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 8: the server is away and comes back. The command says so with its own exit code, and all goes on
/// without an operator.
#[tokio::test(flavor = "multi_thread")]
async fn drill_8_postgres_restarts() {
    let cluster = Cluster::start().unwrap();
    let mut drill = Drill::without_workers("8", World::on(ROUTER, &cluster).await).await;
    drill.start_worker().await;
    let ids = drill.publish([one(1)]).await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.world.until_settled().await;
    drill.incident();
    cluster.shut_down().unwrap();
    let said = drill.shown(&["can't connect", "whether Postgres is up there"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    drill
        .fires("OutboxRelayNobodyLeads", &drill.relay, "outbox_relay_leader", &[], |leads| leads == 0.0)
        .await;
    let why = drill.outbox(&format!("why {}", ids[0])).await;
    assert!(why.code == 3 && why.err.contains("can't connect"), "{why:?}");

    cluster.restart(&[]).unwrap();
    drill.incident();
    drill.until_well().await;
    let ids = drill.publish((2..12).map(one)).await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.why(ids[0], &["done "]).await;
    drill.finish().await;
}

/// Guards promise 8, drill 9: there is no space for what workers write. All RPCs stand still, and the server's words say why.
/// Once there is space, nothing else has to be done.
#[tokio::test(flavor = "multi_thread")]
async fn drill_9_the_disk_is_full() {
    let mut drill = Drill::start("9", ROUTER).await;
    // A trigger with Postgres' own code and words: a small file system could only be made with rights that a test does not have.
    for statement in [
        "create function public.no_space() returns trigger language plpgsql as
         'begin raise exception ''could not extend file \"base/5/16412\": No space left on device''
             using errcode = ''53100'', hint = ''Check free disk space.''; end'",
        "create trigger no_space before insert on outbox.claim execute function public.no_space()",
    ] {
        drill.world.execute(statement).await;
    }
    drill.incident();
    let ids = drill.publish((0..10).map(one)).await;
    let named = drill.named(&["1 worker of ", "makes no progress for ", "No space left on device"]).await;
    assert!(named.text.contains("/readyz at http://"), "{named:?}");
    drill.why(ids[9], &["queued ", "makes no progress", "No space left on device"]).await;
    let labels = ["rpc=\"Test/One\"", "operation=\"receive\""];
    let errors = "outbox_worker_errors_total";
    drill.fires("OutboxWorkerErrors", &drill.workers[0], errors, &labels, |many| many > 0.0).await;

    drill.world.execute("drop trigger no_space on outbox.claim").await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.until_well().await;
    drill.finish().await;
}
