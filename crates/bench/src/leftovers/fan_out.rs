//! The relay's peak memory while it puts the largest events to many subscribers.

use std::fmt::Write as _;
use std::time::Duration;

use testkit::process::Process;

use crate::database::{Database, EVENT, until};
use crate::memory::peak_megabytes;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::{Must, Row};

/// The largest payload of `outbox.enqueue`.
const BYTES: usize = 240 * 1024;
const MB_MAX: f64 = 160.0;

pub(super) async fn row(plan: &Plan) -> Result<Row> {
    let (events, subscribers) = (plan.count(40, 4), 140);
    let database = Database::start().await?;
    let mut conn = database.connect().await?;
    for _ in 0..events {
        let enqueue = sqlx::query("select outbox.enqueue($1, $2)").bind(EVENT).bind(large());
        enqueue.execute(&mut conn).await?;
    }
    let mut yaml = format!("event:\n  - name: '{EVENT}'\n    subscriber:\n");
    for n in 0..subscribers {
        let _ = writeln!(yaml, "      - id: 'BenchService/Take{n}'");
    }
    let router = std::env::temp_dir().join(format!("outbox-bench-{}-fan-out.yaml", std::process::id()));
    std::fs::write(&router, yaml)?;
    let (url, routes) = (database.url(), router.display().to_string());
    let args = ["--source", url.as_str(), "--router", routes.as_str(), "--metrics-addr", "127.0.0.1:0"];
    let relay = Process::start(&plan.programs.join("relay"), args, &[])?;
    let deliveries = events * subscribers;
    let mut cursor_at_end = async || {
        let done = "select last_seq >= (select last_value from outbox.event_seq) and page_seq is null
                    from outbox.cursor order by id desc limit 1";
        Ok(sqlx::query_scalar(done).fetch_one(&mut conn).await?)
    };
    let put = until("every delivery is written", Duration::from_secs(600), &mut cursor_at_end).await;
    let peak = peak_megabytes(relay.pid());
    relay.stop().await?;
    std::fs::remove_file(router)?;
    put?;
    let written: i64 =
        sqlx::query_scalar("select count(*) from outbox.delivery").fetch_one(&mut conn).await?;
    if written != i64::try_from(deliveries)? {
        return Err(format!("{written} of {deliveries} deliveries").into());
    }
    let row = Row::alone("leftovers", "MB", peak?).with("left", "fan_out").with("program", "relay");
    let row = row.with("events", events).with("bytes", BYTES).with("subscribers", subscribers);
    Ok(row.must(Must::OursAtMost(MB_MAX)))
}

/// Bytes that the server can't compress.
fn large() -> String {
    let mut payload = String::with_capacity(BYTES);
    payload.push_str(r#"{"note":""#);
    while payload.len() < BYTES - 2 {
        payload.push(fastrand::alphanumeric());
    }
    payload.push_str(r#""}"#);
    payload
}
