//! Services without an address, workers for some of the services, and mistakes in their names.

use testkit::process::Process;
use testkit::scrape;

use crate::operator::outbox;
use crate::world::{One, ROUTER, Two, World, programs, until};

/// Guards promises 6 and 8: a service without an address holds back its own queues, and no other. Log, metric, `status` and
/// `why` say so. A worker with the address delivers what waited.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_an_address_holds_back_its_own_queues() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let test = format!("Test=http://{}", world.rpcs.addr);
    let mut worker = world.worker_process_with(&["--endpoint", &test]);
    let addr = scrape::addr(&mut worker).await.unwrap();
    let said = worker.wait_for("no address").await.unwrap();
    assert!(said.contains("ERROR") && said.contains("Other"), "{said}");
    let (one, two) = (world.publish(One { n: 1 }).await, world.publish(Two { n: 2 }).await);
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.until_done("Test/TwoA", &[two]).await;
    let metrics = scrape::get(&addr, "/metrics").await.unwrap().1;
    for line in
        ["outbox_worker_unaddressed{service=\"Other\"} 1", "outbox_worker_unaddressed{service=\"Test\"} 0"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    for command in ["status".to_owned(), format!("why {two}")] {
        until(&format!("`outbox {command}` says it"), async || {
            outbox(&world, &command).await.out.contains("no worker has an address for Other")
        })
        .await;
    }
    assert!(world.rpcs.calls().iter().all(|call| call.rpc != "Other/TwoB"));
    let other = format!("Other=http://{}", world.rpcs.addr);
    let second = world.worker_process_with(&["--endpoint", &test, "--endpoint", &other]);
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    world.until_settled().await;
    assert!(worker.stop().await.unwrap().success() && second.stop().await.unwrap().success());
    world.finish().await;
}

/// Guards promises 6 and 8: a service that gets its address in services.yaml is served after SIGHUP. A mistake in that file
/// changes nothing, and is told. A pause holds from the first call on.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_comes_without_a_restart() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let (dir, rpcs) = (tempfile::tempdir().unwrap(), world.rpcs.addr.clone());
    let file = dir.path().join("services.yaml");
    let says = |text: String| std::fs::write(&file, text).unwrap();
    let test = format!("service:\n  Test: {{ address: 'http://{rpcs}' }}\n");
    says(test.clone());
    assert_eq!(outbox(&world, "pause --rpc Other/TwoB --for 30m --why 'not yet'").await.code, 0);
    let mut worker = world.worker_process_with(&["--services", &file.display().to_string()]);
    let addr = scrape::addr(&mut worker).await.unwrap();
    assert!(worker.wait_for("no address").await.unwrap().contains("Other"));
    let first = world.publish(Two { n: 1 }).await;
    world.rpcs.until_done("Test/TwoA", &[first]).await;

    says(test.replace("address", "adress"));
    worker.signal("HUP").unwrap();
    let refused = worker.wait_for("SIGHUP: refused a file").await.unwrap();
    assert!(refused.contains("did you mean `address`?"), "{refused}");
    until("/readyz names the file", async || {
        let (status, body) = scrape::get(&addr, "/readyz").await.unwrap();
        status == 200 && body.contains("services.yaml") && body.contains("did you mean `address`?")
    })
    .await;
    let second = world.publish(Two { n: 2 }).await;
    world.rpcs.until_done("Test/TwoA", &[second]).await;

    says(format!("{test}  Other: {{ address: 'http://{rpcs}' }}\n"));
    worker.signal("HUP").unwrap();
    worker.wait_for("SIGHUP: read event_router.yaml again").await.unwrap();
    world
        .until(
            "select count(*) = 1 from outbox.process as p
             cross join lateral json_array_elements(p.report::json -> 'rpcs') as r
             where r ->> 'rpc' = 'Other/TwoB' and (r ->> 'paused')::boolean and r ->> 'unaddressed' is null",
        )
        .await;
    let metrics = scrape::get(&addr, "/metrics").await.unwrap().1;
    assert!(
        metrics.lines().any(|line| line == "outbox_worker_unaddressed{service=\"Other\"} 0"),
        "{metrics}"
    );
    assert!(world.rpcs.calls().iter().all(|call| call.rpc != "Other/TwoB"), "it is paused");
    assert_eq!(outbox(&world, "resume --rpc Other/TwoB").await.code, 0);
    world.rpcs.until_done("Other/TwoB", &[first, second]).await;
    world.until_settled().await;
    assert!(worker.stop().await.unwrap().success());
    world.finish().await;
}

/// Guards promise 6: a worker with --only leaves the queues of other services to other workers.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_only_what_it_is_for() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let all = format!("*=http://{}", world.rpcs.addr);
    let first = world.worker_process_with(&["--endpoint", &all, "--only", "Test"]);
    let two = world.publish(Two { n: 1 }).await;
    world.rpcs.until_done("Test/TwoA", &[two]).await;
    let one = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[one]).await;
    assert!(world.rpcs.calls().iter().all(|call| call.rpc != "Other/TwoB"));
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ENDPOINTS", all.as_str())];
    let second = world.worker_process_without_database(&env, &["--only", "Other"]);
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    world.until_settled().await;
    assert!(first.stop().await.unwrap().success() && second.stop().await.unwrap().success());
    world.finish().await;
}

/// Guards promise 8: what can't work is refused at the start, with exit code 2 and the remedy. No secret is shown.
#[tokio::test(flavor = "multi_thread")]
async fn impossible_services_are_refused_at_start() {
    let world = World::new(ROUTER).await;
    let (router, dir) = (world.router_file.display().to_string(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let typo = file("typo.yaml", "service:\n  Test: { adress: 'http://a', token: s3cret }\n");
    let lost = file("lost.yaml", "default: { address: 'http://a', token: { file: eyJ.s3cret/x } }\n");
    let key = "service:\n  Test: { address: 'https://a', tls: { cert: a.pem, key: s3cret } }\n";
    let key = file("key.yaml", key);
    let empty = file("empty", "\n");
    let bad =
        file("bad.yaml", &format!("default: {{ address: 'http://a', token: {{ file: '{empty}' }} }}\n"));
    let url = "http://{service}:1";
    let cases: [(&[&str], &str, &[&str]); 10] = [
        (&["--services", &typo], "true", &["did you mean `address`?", "`token` does not name a file"]),
        (&["--services", &lost], "true", &["`token` of the entry at ", "lost.yaml:1:1 names can't be found"]),
        (&["--services", &key], "true", &["`tls.cert` of the entry at ", "key.yaml:2:3"]),
        (&["--services", &bad], "true", &["it is empty, or not UTF-8"]),
        (&["--services", "/nowhere.yaml"], "true", &["failed to read /nowhere.yaml"]),
        (&["--endpoint", "Tset=http://a"], "true", &["--endpoint names Tset", "did you mean Test?"]),
        (&["--endpoint", url, "--only", "Tset"], "true", &["--only names Tset", "did you mean Test?"]),
        (&["--endpoint", "http://{svc}:1"], "true", &["is not http://"]),
        (
            &["--header-prefix", "acme-"],
            "true",
            &["without an endpoint: Other, Test", "--services services.yaml"],
        ),
        (&["--endpoint", url], "false", &["without their package", "Other, Test", "pass --proto DIR"]),
    ];
    for (args, full_names, expected) in cases {
        let args = [&["--router", router.as_str(), "--metrics-addr", "127.0.0.1:0"], args].concat();
        let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_FULL_NAMES", full_names)];
        let mut worker = Process::start(&programs().join("worker"), &args, &env).unwrap();
        let mut said = String::new();
        while let Some(line) = worker.line().await {
            said.push_str(&line);
            said.push('\n');
        }
        assert!(expected.iter().all(|words| said.contains(words)), "{args:?} said:\n{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(worker.ended().await.unwrap().code(), Some(2), "{args:?}");
    }
    world.finish().await;
}
