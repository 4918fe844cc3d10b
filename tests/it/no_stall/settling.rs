//! Deliveries that can't be settled on Postgres: their rows are refused, one by one and at random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use outbox_event_router::Rpc;
use outbox_postgres::SESSION;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_transport::{Again, Outcome, Queue, Wanted};
use testkit::cluster::Cluster;
use testkit::process::Process;
use testkit::scrape;
use tokio_util::sync::CancellationToken;

use crate::operator::{n, outbox};
use crate::world::{One, ROUTER, World, until};

/// No stop takes longer: a worker waits so long for an unreachable database.
const STOP_SECONDS_MAX: u64 = 8;

/// The RPC refuses every seventh event, with its number.
fn refuse_every_seventh(world: &World) {
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            match n % 7 {
                0 => Err(ConnectError::invalid_argument(format!("no card {n}"))),
                _ => Ok(()),
            }
        })
    });
}

async fn publish(world: &World, many: i64) -> Vec<(i64, EventId)> {
    let ids = world.publish_all((1..=many).map(|n| Entry::new(One { n }))).await;
    (1..=many).zip(ids).collect()
}

/// The calls by number, without the first `before` of them.
fn calls_by_n(world: &World, before: usize) -> BTreeMap<i64, usize> {
    let mut calls = BTreeMap::new();
    for called in world.rpcs.calls().split_off(before) {
        *calls.entry(n(&called)).or_default() += 1;
    }
    calls
}

/// Stops the worker as a deploy does. It must finish its work, and soon: the test has the machine for itself.
async fn stop(mut worker: Process) {
    let began = std::time::Instant::now();
    worker.signal("TERM").unwrap();
    while worker.line().await.is_some() {}
    assert!(worker.ended().await.unwrap().success(), "it says that not everything was finished");
    assert!(began.elapsed().as_secs() < STOP_SECONDS_MAX, "{:?}", began.elapsed());
}

/// Guards promises 3, 6 and 8: a dead letter that a constraint refuses is set aside by itself. Its neighbours are recorded
/// and acked, and the next worker does not call them again. A stop does not wait for it. `status`, `why` and a metric show
/// the constraint. Once that accepts it, it is moved without another call.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_refused_costs_its_neighbours_nothing() {
    let mut world = World::alone(ROUTER).await;
    world.relay();
    refuse_every_seventh(&world);
    world
        .execute("alter table outbox.dead_letter add constraint no_14 check (reason not like '%no card 14%')")
        .await;
    let mut worker = world.worker_process();
    let addr = scrape::addr(&mut worker).await.unwrap();
    let events = publish(&world, 60).await;
    world.until("select count(*) = 7 from outbox.dead_letter").await;
    world.until("select count(*) = 52 from outbox.done").await;
    world.until("select count(*) = 1 and bool_and(last_code = 'set_aside') from outbox.retry").await;
    world.until("select not exists (select from outbox.claim where until is not null)").await;

    let (_, odd) = events[13];
    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 1, "{said:?}");
    let line =
        "1 message of Test/One can't be moved to the dead letters: its dead letter is refused (23514: ";
    assert!(said.out.contains(line) && said.out.contains("invalid_argument: no card 14"), "{said:?}");
    let why = outbox(&world, &format!("why {odd}")).await;
    assert!(why.out.contains("23514"), "{why:?}");
    let gauge = format!(
        "outbox_worker_set_aside{{source=\"{}\",rpc=\"Test/One\",code=\"23514\"}} 1",
        world.source.name()
    );
    until("it is counted", async || scrape::get(&addr, "/metrics").await.unwrap().1.contains(&gauge)).await;
    // It came back at least once, without a call.
    worker.wait_for("set aside").await.unwrap();
    worker.wait_for("set aside").await.unwrap();
    assert_eq!(calls_by_n(&world, 0)[&14], 1);
    stop(worker).await;

    let before = world.rpcs.calls().len();
    let mut worker = world.worker_process();
    worker.wait_for("set aside").await.unwrap();
    world.execute("alter table outbox.dead_letter drop constraint no_14").await;
    world.until_settled().await;
    let (code, reason, attempts): (String, String, i32) =
        sqlx::query_as("select code, reason, attempts from outbox.dead_letter where event_id = $1")
            .bind(odd.as_uuid())
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!((code.as_str(), reason.as_str()), ("invalid_argument", "no card 14"));
    assert_eq!(attempts, 3, "two calls, and the receive that moved it: the others count for nothing");
    assert_eq!(calls_by_n(&world, before), BTreeMap::from([(14, 1)]));
    stop(worker).await;
    world.finish().await;
}

/// Guards promises 2, 3 and 7: rows of dead letters and retries are refused at random, with two workers, and one that is
/// killed meanwhile. In the end every event is done or dead, and each success was one call.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_refused_at_random_lose_nothing() {
    let mut world = World::alone(ROUTER).await;
    world.relay();
    world.rpcs.on("Test/One", |called| {
        let (n, attempt) = (n(called), called.attempt);
        Box::pin(async move {
            match n % 7 {
                0 => Err(ConnectError::invalid_argument(format!("no card {n}"))),
                1 if attempt == 1 => Err(ConnectError::internal("not yet")),
                _ => Ok(()),
            }
        })
    });
    for table in ["dead_letter", "retry"] {
        world
            .execute(&format!(
                "create function public.refuse_{table}() returns trigger language plpgsql as $$
                 begin
                     if random() < 0.3 then raise exception 'not this one'; end if;
                     return new;
                 end $$"
            ))
            .await;
        // An unsettled claim is given back by one insert of all its rows, which must succeed.
        let when = if table == "retry" { "when (new.last_code in ('internal', 'set_aside'))" } else { "" };
        world
            .execute(&format!(
                "create trigger refuse before insert on outbox.{table} for each row {when}
                 execute function public.refuse_{table}()"
            ))
            .await;
    }
    let (first, second) = (world.worker_process(), world.worker_process());
    let events = publish(&world, 400).await;
    world.until("select count(*) > 100 from outbox.done").await;
    first.kill().await.unwrap();
    let recorded: Vec<uuid::Uuid> =
        sqlx::query_scalar("select event_id from outbox.done").fetch_all(&world.pool).await.unwrap();
    let before = world.rpcs.calls().len();
    // The killed worker may have called without recording: that gap is allowed.
    world.rpcs.forget();
    world.until("select count(*) = 343 from outbox.done").await;
    stop(second).await;
    for table in ["dead_letter", "retry"] {
        world.execute(&format!("drop trigger refuse on outbox.{table}")).await;
    }
    // All remaining deliveries fail alike, which looks like a broken deploy: the operator declares them poison.
    world
        .execute("update outbox.queue set poison_until = now() + interval '1 hour' where rpc = 'Test/One'")
        .await;
    let third = world.worker_process();
    world.until("select count(*) = 57 from outbox.dead_letter").await;
    world.until_settled().await;
    let dead: Vec<uuid::Uuid> = sqlx::query_scalar("select event_id from outbox.dead_letter order by 1")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let mut expected: Vec<uuid::Uuid> =
        events.iter().filter(|(n, _)| n % 7 == 0).map(|(_, id)| id.as_uuid()).collect();
    expected.sort();
    assert_eq!(dead, expected);
    let later: BTreeSet<uuid::Uuid> =
        world.rpcs.calls().split_off(before).iter().map(|call| call.event.as_uuid()).collect();
    let again: Vec<_> = recorded.iter().filter(|id| later.contains(id)).collect();
    assert!(again.is_empty(), "{again:?} were recorded, and are called again");
    stop(third).await;
    world.finish().await;
}

/// Guards promise 2: a crash of the server loses unflushed commits, and the worker goes on. Settled deliveries of a claim
/// must still be settled when the worker settles the rest and closes the claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_half_of_a_claim() {
    let own = Cluster::tuned(&[("wal_writer_delay", "10s")]).unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let relay = world.relay();
    world.publish_all((0..3).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 3 from outbox.delivery").await;
    world.stop_relay(&relay).await;
    let (rpc, visibility) = (Rpc::new("Test/One").unwrap(), Duration::from_secs(60));
    let watched = Arc::new(Watched::new(&rpc));
    let connections = world.source.connections("test", &SESSION, 1);
    let queue = PostgresQueue::new(connections, Arc::clone(&watched), "test", visibility, visibility);
    watched.ring();
    let received = queue.receive(Wanted::any(3), &CancellationToken::new()).await.unwrap();
    let [dead, failed, done] = <[_; 3]>::try_from(received).unwrap().map(|delivery| delivery.receipt);
    // Flushes the earlier commits, with the claim among them.
    world.execute("create table public.flushed ()").await;
    let reason = Outcome::Dead { code: "internal", reason: "poison".into() };
    let again =
        Outcome::Retry { after: Duration::ZERO, again: Again::Failed, code: "internal", error: "e".into() };
    let settled = queue.settle(&[(dead, reason), (failed, again)]).await;
    assert_eq!(settled, [Ok(()), Ok(())]);
    own.crash().unwrap();
    own.restart(&[]).unwrap();
    let rest = [(done, Outcome::Done)];
    until("the rest is settled", async || queue.settle(&rest).await == [Ok(())]).await;
    world.until("select until is null from outbox.claim").await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 1);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 1);
    world.finish().await;
}

/// Texts of errors that an RPC may send.
fn texts() -> Vec<String> {
    vec![
        "can not parse: \u{ffff}\u{fffe}".to_owned(),
        "nul \0, escape \u{1b}[2J, delete \u{7f}".to_owned(),
        "emoji \u{1f600}, noncharacter \u{1fffe}, \u{e9}, \u{2028}".to_owned(),
        "\u{ffff}".repeat(70_000),
        "a long one ".repeat(10_000),
        String::new(),
    ]
}

/// Guards promises 2 and 6: every text of an error leaves its event dead or retried, with as much of the reason as a text
/// can hold.
#[tokio::test(flavor = "multi_thread")]
async fn any_text_of_an_error_is_kept() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.rpcs.on("Test/One", |called| {
        let (n, attempt) = (n(called), called.attempt);
        let said = texts().swap_remove(usize::try_from(n % 100).unwrap());
        Box::pin(async move {
            match (n / 100, attempt) {
                (0, _) => Err(ConnectError::invalid_argument(said)),
                (_, 1) => Err(ConnectError::internal(said)),
                _ => Ok(()),
            }
        })
    });
    world.worker();
    let numbers = (0..texts().len()).flat_map(|n| [n as i64, n as i64 + 100]);
    let ids = world.publish_all(numbers.map(|n| Entry::new(One { n }))).await;
    world.until(&format!("select count(*) = {} from outbox.dead_letter", texts().len())).await;
    world.until_settled().await;
    let reasons: Vec<String> = sqlx::query_scalar("select reason from outbox.dead_letter order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(reasons[0], "can not parse: \u{ffff}\u{fffe}");
    assert!(reasons.iter().all(|reason| reason.chars().count() <= 1000), "{reasons:?}");
    assert!(!reasons.iter().any(|reason| reason.contains(char::is_control)), "{reasons:?}");
    assert_eq!(world.rpcs.succeeded().len(), ids.len() / 2);
    world.finish().await;
}

/// Guards promises 6 and 8: of dead letters that are redriven, those that a constraint refuses stay, with the reason. The
/// others are delivered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_refused_costs_the_others_nothing() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    refuse_every_seventh(&world);
    let worker = world.worker();
    let events = publish(&world, 21).await;
    world.until("select count(*) = 3 from outbox.dead_letter").await;
    world.until_settled().await;
    worker.cancel();
    let (_, odd) = events[6];
    world
        .execute(&format!("alter table outbox.retry add constraint not_this check (event_id <> '{odd}')"))
        .await;
    let said = outbox(&world, "dlq redrive --all").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("redriven 2 dead letters"), "{said:?}");
    assert!(
        said.out.contains("1 stay, for their queue refuses them") && said.out.contains("23514"),
        "{said:?}"
    );
    let left: Vec<uuid::Uuid> =
        sqlx::query_scalar("select event_id from outbox.dead_letter").fetch_all(&world.pool).await.unwrap();
    assert_eq!(left, [odd.as_uuid()]);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 2);
    world.finish().await;
}
