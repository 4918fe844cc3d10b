//! A drill: a line of processes with the documented roles, an operator at the desk, and a clock from the incident to its name.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use outbox::{Entry, EventId};
use serde_json::Value;
use sqlx::PgPool;
use testkit::process::{Process, root};
use testkit::scrape;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::operator::{Said, paste, shell};
use crate::role::role;
use crate::server;
use crate::world::{One, PATIENCE, World, programs, until};

/// `event_one` is soon tried again. Calls of `event_two` may last minutes, two at a time.
pub(crate) const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 2s
        concurrency: 4
        max_attempts: 100
        backoff: { min: 50ms, max: 2s }
  - name: event_two
    subscriber:
      - id: Test/Slow
        timeout: 10m
        concurrency: 2
";

pub(crate) fn one(n: i64) -> Entry {
    Entry::new(One { n })
}

/// One relay and any number of workers as processes, a publisher, and an operator. Each has its role, made only with
/// `outbox.grant_to`.
pub(crate) struct Drill {
    pub(crate) world: World,
    pub(crate) relay: Started,
    pub(crate) workers: Vec<Started>,
    number: &'static str,
    publisher: PgPool,
    operator: String,
    incident: Instant,
}

/// A running process, and where its metrics are.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) addr: String,
}

impl Drill {
    /// With a relay and one worker, which are ready.
    pub(crate) async fn start(number: &'static str, router: &str) -> Self {
        let mut drill = Self::without_workers(number, World::new(router).await).await;
        drill.start_worker().await;
        drill
    }

    /// With a relay, which is ready.
    pub(crate) async fn without_workers(number: &'static str, world: World) -> Self {
        let relay = Started::relay(&world, &world.router_file).await;
        Self::led_by(number, world, relay).await
    }

    /// With one worker, whose only server is behind a door that is open.
    pub(crate) async fn behind_a_door(number: &'static str, router: &str) -> (Self, Door) {
        let mut drill = Self::without_workers(number, World::new(router).await).await;
        let door = Door::open(&drill.world).await;
        let router = drill.world.router_file.clone();
        drill.start_worker_with(&router, &[door.endpoint("Test")]).await;
        let before = drill.publish([one(1)]).await;
        drill.world.rpcs.until_done("Test/One", &before).await;
        (drill, door)
    }

    pub(crate) async fn led_by(number: &'static str, world: World, relay: Started) -> Self {
        let publisher = PgPool::connect(&role(&world, "publisher").await).await.unwrap();
        let operator = role(&world, "operator").await;
        let drill =
            Self { world, relay, workers: Vec::new(), number, publisher, operator, incident: Instant::now() };
        drill.until_ready(&drill.relay.process).await;
        drill
    }

    /// Starts a worker with the world's routes and endpoints, and waits until it is ready.
    pub(crate) async fn start_worker(&mut self) {
        let endpoints = self.world.endpoints();
        let router = self.world.router_file.clone();
        self.start_worker_with(&router, &endpoints).await;
        self.until_ready(&self.workers.last().unwrap().process).await;
    }

    pub(crate) async fn start_worker_with(&mut self, router: &Path, endpoints: &[String]) {
        let url = role(&self.world, "worker").await;
        let router = router.display().to_string();
        let ours = ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--visibility", "30s"];
        let endpoints = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
        let args = ours.into_iter().chain(endpoints);
        let env = [("DATABASE_URL", url.as_str())];
        let process = Process::start(&programs().join("worker"), args, &env).unwrap();
        self.workers.push(Started::new(process).await);
    }

    /// Stops the worker that was started last.
    pub(crate) async fn stop_worker(&mut self) {
        self.workers.pop().unwrap().process.stop().await.unwrap();
    }

    /// Publishes as the role publisher.
    pub(crate) async fn publish(&self, entries: impl IntoIterator<Item = Entry>) -> Vec<EventId> {
        let mut tx = self.publisher.begin().await.unwrap();
        let ids = outbox::enqueue_all(&mut tx, entries).await.unwrap();
        tx.commit().await.unwrap();
        ids
    }

    /// A session of the publisher, for transactions that stay open.
    pub(crate) fn publisher(&self) -> &PgPool {
        &self.publisher
    }

    // ---- the operator's desk

    pub(crate) async fn outbox(&self, args: &str) -> Said {
        self.paste(&format!("outbox {args}")).await
    }

    /// Runs a line that the product printed, as the role operator.
    pub(crate) async fn paste(&self, line: &str) -> Said {
        let router = self.world.router_file.display().to_string();
        paste(&self.env(&router), line).await
    }

    /// The same, and does not wait for its end.
    pub(crate) fn begin(&self, line: &str) -> Child {
        let router = self.world.router_file.display().to_string();
        let mut command = shell(&self.env(&router), &format!("exec {line}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn env<'a>(&'a self, router: &'a str) -> [(&'a str, &'a str); 3] {
        [("DATABASE_URL", &self.operator), ("OUTBOX_ROUTER", router), ("USER", "operator-a")]
    }

    pub(crate) async fn json(&self, args: &str) -> Value {
        self.outbox(&format!("{args} --format json")).await.json()
    }

    /// The times count from here.
    pub(crate) fn incident(&mut self) {
        self.incident = Instant::now();
    }

    /// Waits until one problem or notice of `status` has all these words.
    pub(crate) async fn named(&self, words: &[&str]) -> Named {
        let mut found = None;
        until(&format!("status tells: {words:?}"), async || {
            found = self.problem(words).await;
            found.is_some()
        })
        .await;
        let named = found.unwrap();
        self.note(&format!("named after {:.1} s: {}", self.seconds(), named.text));
        named
    }

    /// The problem or notice of `status` that has all these words.
    pub(crate) async fn problem(&self, words: &[&str]) -> Option<Named> {
        let status = self.json("status").await;
        let all = ["problems", "notices"].into_iter().filter_map(|kind| status[kind].as_array());
        let mut all = all.flatten().map(Named::of);
        all.find(|named| words.iter().all(|word| named.text.contains(word)))
    }

    /// Waits until `status`, as a person reads it, has all these words, on its output or among its errors.
    pub(crate) async fn shown(&self, words: &[&str]) -> Said {
        let mut found = None;
        until(&format!("status shows: {words:?}"), async || {
            let said = self.outbox("status").await;
            let has = |word: &&str| said.out.contains(word) || said.err.contains(word);
            let all = words.iter().all(has);
            found = all.then_some(said);
            all
        })
        .await;
        self.note(&format!("named after {:.1} s: {words:?}", self.seconds()));
        found.unwrap()
    }

    /// Waits until `status` finds nothing stuck.
    pub(crate) async fn until_well(&self) {
        until("nothing is stuck", async || self.outbox("status").await.code == 0).await;
        self.note(&format!("well after {:.1} s", self.seconds()));
    }

    fn seconds(&self) -> f64 {
        self.incident.elapsed().as_secs_f64()
    }

    /// Waits until `why` of an event has these words. Returns all that it tells.
    pub(crate) async fn why(&self, event: EventId, words: &[&str]) -> Said {
        let mut said = None;
        until(&format!("why tells: {words:?}"), async || {
            let why = self.outbox(&format!("why {event}")).await;
            let told = words.iter().all(|word| why.out.contains(word));
            if !told {
                eprintln!("{}", why.out); // shown if this waits in vain
            }
            said = told.then_some(why);
            told
        })
        .await;
        said.unwrap()
    }

    /// Waits until a process shows a series with such a value. The alert's rule reads that series.
    pub(crate) async fn fires(
        &self,
        alert: &str,
        at: &Started,
        series: &str,
        labels: &[&str],
        is_so: impl Fn(f64) -> bool,
    ) {
        fires(alert, &at.addr, (series, labels), is_so).await;
    }

    /// Waits until this process has reported that it is ready.
    pub(crate) async fn until_ready(&self, process: &Process) {
        let pid = format!(":{}:", process.pid());
        until("it has reported that it is ready", async || {
            let status = self.json("status").await;
            status["processes"].as_array().is_some_and(|all| {
                all.iter().any(|one| {
                    one["name"].as_str().is_some_and(|name| name.contains(&pid)) && one["ready"] == true
                })
            })
        })
        .await;
    }

    /// Past the capture of the test's output, so that every log has it.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "drill {} {text}", self.number);
    }

    pub(crate) async fn finish(self) {
        self.publisher.close().await;
        for started in self.workers.into_iter().chain([self.relay]) {
            started.process.stop().await.unwrap();
        }
        self.world.finish().await;
    }
}

impl Started {
    pub(crate) async fn new(mut process: Process) -> Self {
        let addr = scrape::addr(&mut process).await.unwrap();
        Self { process, addr }
    }

    /// A relay with a role of its own, and these routes.
    pub(crate) async fn relay(world: &World, router: &Path) -> Self {
        let (url, router) = (role(world, "relay").await, router.display().to_string());
        let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0"];
        let env = [("DATABASE_URL", url.as_str())];
        Self::new(Process::start(&programs().join("relay"), args, &env).unwrap()).await
    }
}

/// One line of `status`.
#[derive(Debug)]
pub(crate) struct Named {
    /// The problem with its command and its remedy.
    pub(crate) text: String,
    /// The command to paste, or an empty text.
    pub(crate) command: String,
}

impl Named {
    pub(crate) fn of(one: &Value) -> Self {
        let parts: Vec<&str> =
            ["problem", "command", "remedy"].iter().filter_map(|part| one[part].as_str()).collect();
        let remedy = one["remedy"].as_str().unwrap_or_default();
        let in_remedy = remedy.find("outbox ").map_or("", |at| &remedy[at..]);
        let command = one["command"].as_str().unwrap_or(in_remedy).to_owned();
        Self { text: parts.join(": "), command }
    }
}

/// The rest of the first line with these words, from there on: a command or a statement to paste.
#[track_caller]
pub(crate) fn pasted(text: &str, begins: &str) -> String {
    let at = text.find(begins).unwrap_or_else(|| panic!("no `{begins}` in {text}"));
    text[at..].lines().next().unwrap().to_owned()
}

/// Waits until `/metrics` at this address has a series with these labels, each as `name="value"`, and such a value. The alert's
/// rule reads that series.
pub(crate) async fn fires(
    alert: &str,
    addr: &str,
    (series, labels): (&str, &[&str]),
    is_so: impl Fn(f64) -> bool,
) {
    let rules = rules_of(alert);
    assert!(rules.contains(series), "{alert} does not read {series}: {rules}");
    until(&format!("{series} {labels:?} makes {alert} fire"), async || {
        let metrics = scrape::get(addr, "/metrics").await.map(|(_, body)| body).unwrap_or_default();
        metrics.lines().any(|line| value(line, series, labels).is_some_and(&is_so))
    })
    .await;
}

/// The expressions of all alerts of this name.
fn rules_of(alert: &str) -> String {
    let text = std::fs::read_to_string(root().join("ops/prometheus/alerts.yml")).unwrap();
    let named = text.split("- alert: ").filter(|rule| rule.lines().next() == Some(alert));
    let rules: String = named.filter_map(|rule| rule.split("labels:").next()).collect();
    assert!(!rules.is_empty(), "no alert {alert}");
    rules
}

/// The value of a line of `/metrics`, if it is of this series with these labels, each as `name="value"`.
fn value(line: &str, series: &str, labels: &[&str]) -> Option<f64> {
    let rest = line.strip_prefix(series)?;
    let (of, value) = rest.rsplit_once(' ')?;
    let is_it = of.is_empty() || of.starts_with('{');
    (is_it && labels.iter().all(|label| of.contains(label))).then(|| value.parse().ok())?
}

/// A server of all RPCs of the world that can go away and come back at the same address.
pub(crate) struct Door {
    pub(crate) addr: String,
    open: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Door {
    pub(crate) async fn open(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Self { addr: listener.local_addr().unwrap().to_string(), open: None };
        door.serve(world, listener);
        door
    }

    /// Ends the server and its connections.
    pub(crate) async fn close(&mut self) {
        if let Some((stop, served)) = self.open.take() {
            stop.cancel();
            tokio::time::timeout(PATIENCE, served).await.expect("it ends").unwrap();
        }
    }

    pub(crate) async fn open_again(&mut self, world: &World) {
        let listener = TcpListener::bind(&self.addr).await.unwrap();
        self.serve(world, listener);
    }

    /// `--endpoint` for a worker.
    pub(crate) fn endpoint(&self, service: &str) -> String {
        format!("{service}=http://{}", self.addr)
    }

    fn serve(&mut self, world: &World, listener: TcpListener) {
        let (stop, rpcs) = (CancellationToken::new(), world.rpcs.clone());
        let shutdown = stop.clone().cancelled_owned();
        let served = tokio::spawn(async move {
            let handle = move |call| rpcs.handle(call);
            let _ = server::serve(listener, |rpc| !rpc.ends_with("/OutboxDoctor"), handle, shutdown).await;
        });
        self.open = Some((stop, served));
    }
}
