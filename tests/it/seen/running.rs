//! Relays and workers that run, hang, wait or differ, as `status` and `why` tell it without an address of any of them.

use std::time::Duration;

use outbox::Entry;
use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::process::Process;

use crate::operator::{ROUTER, Said, misbehave, outbox, paste};
use crate::role::role;
use crate::world::{One, Two, World, until};

/// Waits until a problem of `status` contains these words, and returns it.
async fn problem(world: &World, words: &str) -> String {
    let mut found = None;
    until(&format!("status tells: {words}"), async || {
        let said = outbox(world, "status --format json").await;
        found = problem_in(&said, words);
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn problem_in(said: &Said, words: &str) -> Option<String> {
    let problems = said.json()["problems"].as_array()?.clone();
    let mut texts = problems.iter().map(|one| format!("{} {}", one["problem"], one["remedy"]));
    texts.find(|text| text.contains(words))
}

async fn processes(world: &World) -> Vec<Value> {
    outbox(world, "status --format json").await.json()["processes"].as_array().unwrap().clone()
}

/// Waits until this process has written that it is ready.
async fn until_ready(world: &World, process: &Process) {
    let pid = format!(":{}:", process.pid());
    until("it has written that it is ready", async || {
        processes(world)
            .await
            .iter()
            .any(|one| one["name"].as_str().unwrap().contains(&pid) && one["ready"] == true)
    })
    .await;
}

/// Guards promise 8: a relay and a worker are listed with version, routes and address while they run, and not after a stop.
#[tokio::test(flavor = "multi_thread")]
async fn running_processes_are_listed() {
    let world = World::new(ROUTER).await;
    assert_eq!(processes(&world).await, Vec::<Value>::new());
    let (relay, worker) = (world.relay_process(), world.worker_process());
    until_ready(&world, &relay).await;
    until_ready(&world, &worker).await;
    let all = processes(&world).await;
    assert_eq!((all[0]["program"].as_str(), all[1]["program"].as_str()), (Some("relay"), Some("worker")));
    assert_eq!(all[0]["router"], all[1]["router"]);
    for one in &all {
        assert_eq!(one["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(one["revision"].as_str(), outbox_revision::known(), "{one}");
        assert_eq!(one["routes"].as_array().unwrap().len(), 2, "{one}");
        assert!(one["address"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{one}");
    }
    let rpcs: Vec<&str> =
        all[1]["rpcs"].as_array().unwrap().iter().map(|rpc| rpc["rpc"].as_str().unwrap()).collect();
    assert_eq!(rpcs, ["Test/One", "Test/Slow"]);
    let told = outbox(&world, "status").await;
    assert!(told.code == 0 && told.out.contains("PROCESS") && told.out.contains("ready"), "{told:?}");
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    assert_eq!(processes(&world).await, Vec::<Value>::new());
    world.finish().await;
}

/// Guards promise 8: one of two workers can't reach a server. `status` names that worker with its error, and does not say that
/// the server is down for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_wrong_endpoint_is_named() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let well = world.worker_process();
    // A port on which nothing listens.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrong = world.worker_process_with(&["--endpoint", &format!("Test=http://{away}")]);
    until_ready(&world, &well).await;
    until_ready(&world, &wrong).await;
    let publishing = async {
        for n in 0.. {
            world.publish(One { n: 100 + n }).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::select! {
        told = problem(&world, "in 1 of 2 workers") => told,
        () = publishing => unreachable!("it has no end"),
    };
    assert!(told.contains("the server of Test/One is away"), "{told}");
    assert!(told.contains(&format!(":{}:", wrong.pid())) && told.contains("unavailable"), "{told}");
    assert!(told.contains("--endpoint"), "{told}");
    well.stop().await.unwrap();
    wrong.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: while a slow server has all calls, `status` and `why` say so, with the number and the time of the calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_named() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    let worker = world.worker_process_in(&[], &["--visibility", "30s"]);
    let ids = world.publish_all((0..3).map(|n| Entry::new(Two { n }))).await;
    let told = problem(&world, "all 1 of 1 calls are under way").await;
    assert!(told.contains("messages for Test/Slow wait") && told.contains("its server is slow"), "{told}");
    let why = outbox(&world, &format!("why {}", ids[2])).await;
    assert!(why.out.contains("all 1 of 1 calls are under way"), "{why:?}");
    answer.cancel();
    world.rpcs.until_done("Test/Slow", &ids).await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: if the dedup record can't be written, every RPC stands still, and `status` says why. Once it can, the
/// problem is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_standstill_has_its_cause() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let worker = world.worker_process();
    until_ready(&world, &worker).await;
    // As without space on the disk: every claim fails.
    world
        .execute(
            "create function public.full() returns trigger language plpgsql as
             'begin raise exception ''No space left on device'' using errcode = ''disk_full''; end'",
        )
        .await;
    world
        .execute("create trigger no_space before insert on outbox.claim execute function public.full()")
        .await;
    let id = world.publish(One { n: 1 }).await;
    let told = problem(&world, "No space left on device").await;
    assert!(told.contains("1 worker of ") && told.contains("makes no progress for"), "{told}");
    let why = outbox(&world, &format!("why {id}")).await;
    assert!(why.out.contains("No space left on device"), "{why:?}");
    world.execute("drop trigger no_space on outbox.claim").await;
    world.rpcs.until_done("Test/One", &[id]).await;
    until("the problem is gone", async || {
        problem_in(&outbox(&world, "status --format json").await, "No space").is_none()
    })
    .await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: two relays with different routes are told, with the process and the route.
#[tokio::test(flavor = "multi_thread")]
async fn different_routes_are_told() {
    let world = World::new(ROUTER).await;
    let (one, worker) = (world.relay_process(), world.worker_process());
    until_ready(&world, &one).await;
    until_ready(&world, &worker).await;
    let older = world.router_file.with_extension("older.yaml");
    std::fs::write(&older, "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }]\n").unwrap();
    let older = older.display().to_string();
    // The environment's router counts only without the argument, so the relay is started by hand.
    let program = crate::world::programs().join("relay");
    let args = ["--router", &older, "--metrics-addr", "127.0.0.1:0"];
    let other = Process::start(&program, args, &[("DATABASE_URL", world.url.as_str())]).unwrap();
    let told = problem(&world, "the routes").await;
    assert!(told.contains(&format!(":{}:", other.pid())), "{told}");
    assert!(told.contains("lacks Test/Slow (event_two)"), "{told}");
    other.stop().await.unwrap();
    until("the problem is gone", async || {
        problem_in(&outbox(&world, "status --format json").await, "the routes").is_none()
    })
    .await;
    one.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: a queue that no worker serves is a problem in `status`, the answer of `why`, and a metric of the relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_worker_is_told() {
    let world = World::new(ROUTER).await;
    let mut relay = world.relay_process();
    let addr = testkit::scrape::addr(&mut relay).await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.until("select count(*) = 1 from outbox.delivery").await;
    let why = outbox(&world, &format!("why {id}")).await;
    assert!(why.code == 1 && why.out.contains("no running worker reports this RPC"), "{why:?}");
    let told = problem(&world, "no running worker reports this RPC").await;
    assert!(told.contains("1 message for Test/One"), "{told}");
    let labels = format!("{{source=\"{}\",rpc=\"Test/One\"}}", world.source.name());
    for line in [format!("outbox_queue_messages{labels} 1"), format!("outbox_queue_workers{labels} 0")] {
        until(&line, async || {
            testkit::scrape::get(&addr, "/metrics").await.unwrap().1.lines().any(|one| one == line)
        })
        .await;
    }
    let worker = world.worker_process();
    world.rpcs.until_done("Test/One", &[id]).await;
    let served = format!("outbox_queue_workers{labels} 1");
    until(&served, async || {
        testkit::scrape::get(&addr, "/metrics").await.unwrap().1.lines().any(|one| one == served)
    })
    .await;
    // A long queue is not counted to its end, which would be read again and again.
    world
        .execute(
            "with retired as (insert into outbox.queue (rpc) values ('Test/Retired') returning id)
             insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select n, retired.id, gen_random_uuid(), '{}', now(), 0, now(), 'waiting', '' from retired, generate_series(1, 1100) as n",
        )
        .await;
    let many = format!("outbox_queue_messages{} 1000", labels.replace("One", "Retired"));
    until(&many, async || {
        testkit::scrape::get(&addr, "/metrics").await.unwrap().1.lines().any(|one| one == many)
    })
    .await;
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: a process that hangs or was killed is silent within ten seconds, and one that can't connect any more, too.
#[tokio::test(flavor = "multi_thread")]
async fn silent_processes_are_told() {
    let cluster = Cluster::start().unwrap();
    let world = World::on(ROUTER, &cluster).await;
    let (relay, worker) = (world.relay_process(), world.worker_process());
    until_ready(&world, &relay).await;
    until_ready(&world, &worker).await;
    worker.signal("STOP").unwrap();
    let told = problem(&world, "1 worker of ").await;
    assert!(told.contains("is silent") && told.contains(&format!(":{}:", worker.pid())), "{told}");
    worker.signal("CONT").unwrap();
    until("it writes again", async || {
        problem_in(&outbox(&world, "status --format json").await, "is silent").is_none()
    })
    .await;
    relay.kill().await.unwrap();
    let told = problem(&world, "1 relay of ").await;
    assert!(told.contains("is silent"), "{told}");
    assert!(problem(&world, "no relay leads").await.contains("start `relay`"));
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: processes that can't log in any more, as with a wrong password, are silent, and are named with what may be
/// wrong. Once they can, the problem is gone.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_can_not_log_in_are_told() {
    let world = World::new(ROUTER).await;
    let url = role(&world, "relay").await;
    let name = url.split(['/', '@']).nth(2).unwrap().to_owned();
    let relay = world.relay_process_in(&[("DATABASE_URL", &url)]);
    until_ready(&world, &relay).await;
    world.execute(&format!("alter role {name} nologin")).await;
    world
        .execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'"))
        .await;
    let told = problem(&world, "1 relay of ").await;
    assert!(told.contains("is silent") && told.contains("wrong password"), "{told}");
    assert!(
        told.contains(&format!(":{}:", relay.pid())) && told.contains("/readyz at http://127.0.0.1:"),
        "{told}"
    );
    assert!(problem(&world, "no relay leads").await.contains("its log says"));
    world.execute(&format!("alter role {name} login")).await;
    until("the problems are gone", async || outbox(&world, "status").await.code == 0).await;
    relay.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 7: rows of processes that were killed are removed by the next one that starts.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_killed_processes_are_removed() {
    let world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.process (id, name, program, version, routes, rpcs, started_at, seen_at, every_seconds, report)
             select gen_random_uuid(), 'vm:' || n || ':abcdef', 'worker', '0.1.0', '{}', '{}', now(),
                    now() - n * interval '1 minute', 5, '{}'
             from generate_series(1, 1000) as n",
        )
        .await;
    let worker = world.worker_process();
    world.until("select count(*) between 2 and 11 from outbox.process").await;
    assert_eq!(
        world
            .scalar::<i64>(
                "select count(*) from outbox.process where seen_at < now() - interval '11 minutes'"
            )
            .await,
        0
    );
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards SECURITY.md: any row that a role can write is shown on one line, and hides no other.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_rows_hide_nothing() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    world.until("select count(*) = 2 from outbox.process").await;
    for (program, seen_at, report) in
        [("worker", "infinity", "{}"), ("relay", "-infinity", "not json"), ("odd", "now", "[]")]
    {
        world
            .execute(&format!(
                "insert into outbox.process (id, name, program, version, address, routes, rpcs, started_at, seen_at, every_seconds, report)
                 values (gen_random_uuid(), E'x\\n\\x1b[2J', '{program}', E'\\n', E'\\x1b', '{{odd}}', '{{}}', '-infinity', '{seen_at}', 'NaN', '{report}')"
            ))
            .await;
    }
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
    let said = paste(&env, "outbox status").await;
    assert!(!said.out.contains('\u{1b}') && said.out.contains("Test/One"), "{said:?}");
    let json = paste(&env, "outbox status --format json").await.json();
    assert_eq!(json["processes"].as_array().unwrap().len(), 4, "{json}");
    assert_eq!(json["rpcs"][0]["serving"]["workers"], json!(1));
    world.finish().await;
}
