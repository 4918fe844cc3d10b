//! Fifty viewers, a full outbox, and a database that ends. It prints what it measured. Only counts and sizes are asserted, because
//! programs of tests are not optimized. `CONSOLE_PROGRAM` names one that is.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use testkit::cluster::Cluster;
use testkit::process::Process;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::journey::program;
use crate::role::role;
use crate::world::{PATIENCE, World, until};

const RPCS: usize = 100;
const VIEWERS: usize = 50;
const BEATS: usize = 10;
/// Each page so often.
const TIMES: usize = 20;
/// Of a change that is usual: at least every second one.
const BEAT_BYTES_MAX: usize = 4_000;
const PAGE_BYTES_MAX: usize = 60_000;
const ASSET_BYTES_MAX: usize = 64_000;
const CONNECTIONS_MAX: i64 = 4;
/// Of an optimized program.
const PAGE_MAX: Duration = Duration::from_millis(150);
/// One that searches the whole outbox: `/events`.
const SEARCH_MAX: Duration = Duration::from_millis(400);
const RESIDENT_KB_MAX: usize = 32 * 1024;

/// Ten events with ten subscribers each.
fn router() -> String {
    let mut yaml = "event:\n".to_owned();
    for event in 0..10 {
        yaml += &format!("  - name: event_{event}\n    subscriber:\n");
        for rpc in 0..RPCS / 10 {
            yaml += &format!("      - id: Test/Rpc{}\n", event * 10 + rpc);
        }
    }
    yaml
}

/// A million events of an hour, each of which waits in a queue, and ten thousand dead letters of a few reasons.
async fn fill(world: &World) {
    let queues: Vec<String> = (0..RPCS).map(|rpc| format!("('Test/Rpc{rpc}')")).collect();
    for statement in [
        &format!("insert into outbox.queue (rpc) values {}", queues.join(", ")),
        "insert into outbox.event (id, name, key, payload, occurred_at, slot)
             select (overlay(overlay(gen_random_uuid()::text placing
                         lpad(to_hex(ms >> 16), 8, '0') || '-' || lpad(to_hex(ms & 65535), 4, '0') from 1 for 13)
                     placing '7' from 15 for 1))::uuid,
                    'event_' || n % 10, 'card-' || n % 5000, '{\"n\":1}', to_timestamp(ms / 1000.0), n * 8 / 1000001
             from generate_series(1, 1000000) as n,
                  lateral (select (extract(epoch from now()) * 1000)::bigint - 3600000 + (n * 3.6)::bigint as ms) as t",
        // As a relay that put them in pages of 1,000.
        "insert into outbox.cursor (snapshot, page_snapshot, page_seq, page_end_seq, last_seq, floor_seq, system_identifier, relay, at, slot)
             select '1:1:', pg_current_snapshot()::text, e.seq, 1000001, e.seq, 0, system_identifier, 'test', e.occurred_at, 0
             from outbox.event as e, pg_control_system() where e.seq % 1000 = 0 order by e.seq",
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, at, slot)
             select pg_current_snapshot()::text, 1000000, 1000000, system_identifier, 'test', now(), 0 from pg_control_system()",
        "insert into outbox.delivery (queue, event_id, body, enqueued_at, slot)
             select (select min(id) from outbox.queue) + e.seq % 100, e.id, '{}', c.at, e.seq * 8 / 1000001
             from outbox.event as e join outbox.cursor as c on c.page_seq = (e.seq + 999) / 1000 * 1000 order by e.seq",
        "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at)
             select e.seq + 1000000, q.id, e.id,
                 json_build_object('rpc', q.rpc, 'event', json_build_object(
                     'id', e.id, 'name', e.name, 'key', e.key, 'headers', '{}'::json, 'payload', '{\"n\":1}'::json, 'source', 'test',
                     'occurred_at', to_char(e.occurred_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')))::text,
                 e.occurred_at, 3, (array['invalid_argument', 'internal', 'expired'])[1 + e.seq % 3],
                 (array['no column amount_', 'division by zero in line ', 'too old: '])[1 + e.seq % 3] || e.seq, now()
             from outbox.event as e
             join outbox.queue as q on q.rpc = 'Test/Rpc' || case when e.seq % 200 = 7 then 7 else e.seq / 200 % 100 end
             where e.seq % 100 = 7",
        "analyze",
    ] {
        world.execute(statement).await;
    }
}

/// A viewer without a browser.
#[derive(Clone)]
struct Viewer {
    address: String,
    cookie: String,
}

impl Viewer {
    async fn open(url: &str) -> Self {
        let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let mut viewer = Self { address: address.to_owned(), cookie: String::new() };
        let (head, _) = viewer.answer(&format!("/{path}")).await;
        let (_, cookie) = head.split_once("set-cookie: ").expect("there is a cookie");
        cookie.split(';').next().unwrap().clone_into(&mut viewer.cookie);
        viewer
    }

    async fn ask(&self, path: &str, more: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let Self { address, cookie } = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Head and body.
    async fn answer(&self, path: &str) -> (String, String) {
        let mut stream = self.ask(path, "Connection: close\r\n").await;
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("no answer: {path}")).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn page(&self, path: &str) -> String {
        let (head, body) = self.answer(path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}\n{body}");
        body
    }

    /// Watches the first page. Returns the sizes of the first beat and of those after it.
    async fn watch(self, beats: usize) -> (usize, Vec<usize>) {
        let mut lines = BufReader::new(self.ask("/live", "").await).lines();
        let (mut sizes, mut bytes) = (Vec::new(), 0);
        while sizes.len() < beats {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a beat").unwrap();
            let line = line.expect("it goes on");
            if line.starts_with("data:") {
                bytes += line.len();
            } else if bytes > 0 && line.is_empty() {
                sizes.push(std::mem::take(&mut bytes));
            }
        }
        (sizes.remove(0), sizes)
    }
}

/// How often the console has looked: each look has each of its statements once.
async fn looks(world: &World, role: &str) -> i64 {
    let most = format!(
        "select coalesce(max(calls), 0) from pg_stat_statements
         where userid = '{role}'::regrole and query like '%outbox.leader%'"
    );
    sqlx::query_scalar(AssertSqlSafe(most)).fetch_one(&world.pool).await.unwrap()
}

async fn looks_of(world: &World, role: &str, viewer: &Viewer, viewers: usize) -> i64 {
    let before = looks(world, role).await;
    let mut watching = JoinSet::new();
    for _ in 0..viewers {
        watching.spawn(viewer.clone().watch(BEATS));
    }
    let (first, mut beats) = watching.join_all().await.into_iter().max().unwrap();
    let many = looks(world, role).await - before;
    println!("{viewers} viewers, {BEATS} beats: {many} looks, {first} bytes at first, then {beats:?}");
    beats.sort_unstable();
    assert!(beats[beats.len() / 2] <= BEAT_BYTES_MAX, "{beats:?} bytes");
    many
}

/// Prints what costs the database most.
async fn tell_slowest(world: &World, role: &str) {
    let slowest = format!(
        "select round(mean_exec_time)::bigint, round(max_exec_time)::bigint, calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 90)
         from pg_stat_statements where userid = '{role}'::regrole order by mean_exec_time desc limit 5"
    );
    let rows: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(slowest)).fetch_all(&world.pool).await.unwrap();
    for (mean, most, calls, query) in rows {
        println!("{mean} ms on average, {most} ms at most, {calls} times: {query}");
    }
}

async fn connections(world: &World, role: &str) -> i64 {
    let many = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    sqlx::query_scalar(AssertSqlSafe(many)).fetch_one(&world.pool).await.unwrap()
}

async fn measure(viewer: &Viewer, path: &str) -> Duration {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..TIMES {
        let began = Instant::now();
        bytes = viewer.page(path).await.len();
        times.push(began.elapsed());
    }
    let first = times[0];
    times.sort();
    let p95 = times[(TIMES * 95).div_ceil(100) - 1];
    println!("{path}: {bytes} bytes, first {first:.0?}, p50 {:.0?}, p95 {p95:.0?}", times[TIMES / 2]);
    assert!(bytes <= PAGE_BYTES_MAX, "{path}: {bytes} bytes");
    p95
}

fn resident_kb(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Guards promise 8: with a hundred RPCs, ten thousand dead letters and a million events each page is small and is answered. Fifty
/// viewers cost the database what one costs. Without the database the pages answer with what they had, and say so.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_viewers_cost_what_one_costs() {
    let settings = [("shared_preload_libraries", "pg_stat_statements")];
    let (world, cluster) =
        World::with_own(&router(), || Cluster::tuned(&settings).unwrap_or_else(|error| panic!("{error}")))
            .await;
    world.execute("create extension pg_stat_statements").await;
    fill(&world).await;
    let url = role(&world, "operator").await;
    let role = url.trim_start_matches("postgres://").split('@').next().unwrap().to_owned();
    let router = world.router_file.display().to_string();
    let is_optimized = program().display().to_string().contains("release");
    let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router)];
    let mut process = Process::start(&program(), ["console", "--addr", "127.0.0.1:0"], &env).unwrap();
    let said = process.wait_for("the console is at http://").await.unwrap();
    let idle = resident_kb(&process);
    let viewer = Viewer::open(&said[said.find("http://").unwrap()..]).await;

    for asset in ["/console.css", "/console.js"] {
        let bytes = viewer.page(asset).await.len();
        println!("{asset}: {bytes} bytes");
        assert!(bytes <= ASSET_BYTES_MAX, "{asset}: {bytes} bytes");
    }
    let event: uuid::Uuid =
        world.scalar("select event_id from outbox.dead_letter order by seq limit 1").await;
    let letter: i64 = world.scalar("select min(seq) from outbox.dead_letter").await;
    let paths = [
        "/",
        "/rpc/Test/Rpc7",
        "/dead",
        "/dead?rpc=Test%2FRpc7",
        &format!("/dead/letter/{letter}"),
        "/dead/redrive?rpc=Test%2FRpc7",
        &format!("/event/{event}"),
        "/events?name=event_1",
        "/events?key=card-7",
        "/parked",
        "/repairs",
        "/line",
        "/routes",
        "/audit",
    ];
    let slow = async {
        let mut slow = Vec::new();
        for path in paths {
            let p95 = measure(&viewer, path).await;
            let most = if path.starts_with("/events") { SEARCH_MAX } else { PAGE_MAX };
            if p95 > most {
                slow.push((path, p95));
            }
        }
        slow
    };
    let mut most = 0;
    let counting = async {
        loop {
            most = most.max(connections(&world, &role).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let slow = tokio::select! {
        slow = slow => slow,
        () = counting => unreachable!("it has no end"),
    };
    tell_slowest(&world, &role).await;
    println!("one viewer: {most} connections at most");
    assert!(most <= CONNECTIONS_MAX, "{most} connections");

    let one = looks_of(&world, &role, &viewer, 1).await;
    let fifty = looks_of(&world, &role, &viewer, VIEWERS).await;
    assert!(one > 0 && fifty <= one * 2, "{one} looks for one viewer, {fifty} for {VIEWERS}");
    let full = resident_kb(&process);
    println!("resident: {idle} kB at first, {full} kB after {VIEWERS} viewers");
    if is_optimized {
        assert!(idle <= RESIDENT_KB_MAX && slow.is_empty(), "{idle} kB, {slow:?}");
    }

    let before = viewer.page("/").await;
    assert!(!before.contains("role=\"alert\""), "{before}");
    cluster.crash().unwrap();
    until("the first page has a banner", async || viewer.page("/").await.contains("role=\"alert\"")).await;
    for path in paths {
        let (head, body) = viewer.answer(path).await;
        // The file of routes is on this machine.
        assert!(path == "/routes" || body.contains("role=\"alert\""), "{path}: {head}\n{body}");
        // Each was seen before.
        assert!(path == "/routes" || body.contains("What follows is older."), "{path}: {head}\n{body}");
        println!("{path} without the database: {}", head.lines().next().unwrap_or_default());
    }
    cluster.restart(&[]).unwrap();
    until("the banner is gone", async || {
        let (head, body) = viewer.answer("/").await;
        head.starts_with("HTTP/1.1 200") && !body.contains("role=\"alert\"")
    })
    .await;
    assert!(process.stop().await.unwrap().success());
    world.finish().await;
}
