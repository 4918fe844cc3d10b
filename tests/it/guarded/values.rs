use sqlx::{Connection, PgConnection};

use crate::world::{ROUTER, World};

/// Guards promise 8: no value of a header, key or payload stands in an error of `enqueue`, neither the client's nor the
/// server's log. This holds for every kind of mistake.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_enqueue_quote_no_value() {
    const SECRET: &str = "hunter2-in-a-value";
    let own = testkit::cluster::Cluster::tuned(&[("log_min_messages", "debug1")]).unwrap();
    let world = World::on(ROUTER, &own).await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    let payloads = [
        SECRET.to_owned(),
        format!("{{\"a\":\"{SECRET}\""),
        format!("[\"{SECRET}\"]"),
        format!("{{\"a\":\"{SECRET}\\q\"}}"),
        format!("{}\"{SECRET}\"{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("{{\"a\":\"{}{SECRET}\"}}", "x".repeat(300_000)),
    ];
    let headers = [
        format!("{{\"x\":\"{SECRET}\\u0000\"}}"),
        format!("{{\"x\":\"{SECRET}\\ud800\"}}"),
        format!("{{\"x\":\"{SECRET}\\udc00\\ud800\"}}"),
        format!("{{\"x\":\"{SECRET}\\u12\"}}"),
        format!("{{\"x\":[\"{SECRET}\"]}}"),
        format!("{{\"{SECRET} \\u0000\":\"x\"}}"),
        format!("{{\"x\":\"{SECRET}\u{e9}\"}}"),
        format!("\"{SECRET}\""),
        SECRET.to_owned(),
        format!("{{\"x\":\"{SECRET}{}\"}}", "y".repeat(9000)),
    ];
    let key = format!("{SECRET}{}", "k".repeat(600));
    let mut calls: Vec<(String, Option<String>, Option<String>)> = Vec::new();
    calls.extend(payloads.into_iter().map(|payload| (payload, None, None)));
    calls.extend(headers.into_iter().map(|headers| ("{}".to_owned(), None, Some(headers))));
    calls.push(("{}".to_owned(), Some(key), None));
    for (payload, key, headers) in calls {
        let one = sqlx::query("select outbox.enqueue('event_one', $1, $2, $3)")
            .bind(&payload)
            .bind(&key)
            .bind(&headers);
        let many = sqlx::query(
            "select outbox.enqueue_all(array['event_one'], array[$1::text], array[$2::text], array[$3::text], array[null::uuid])",
        )
        .bind(&payload)
        .bind(&key)
        .bind(&headers);
        for query in [one, many] {
            let error = query.execute(&mut conn).await.expect_err("it is refused");
            let told = format!("{error:?}");
            assert!(error.as_database_error().is_some(), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    let log = std::fs::read_to_string(own.dir().join("log")).unwrap();
    assert!(
        log.contains("header `x` of event_one has a value that is not printable ASCII"),
        "the log is that of these errors"
    );
    assert!(!log.contains("hunter2"), "a value in the server's log");
    world.finish().await;
}
