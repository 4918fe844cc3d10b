//! A drill: a line of processes with the documented roles, an operator at the desk, and a clock from the incident to its name.

use std::io::Write;
use std::time::Instant;

use outbox::{Entry, EventId};
use serde_json::Value;
use sqlx::PgPool;
use testkit::process::{Process, root};
use testkit::scrape;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::operator::{Said, paste};
use crate::role::role;
use crate::server;
use crate::world::{World, until};

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
        drill.start_worker(&[]).await;
        drill
    }

    pub(crate) async fn without_workers(number: &'static str, world: World) -> Self {
        let publisher = PgPool::connect(&role(&world, "publisher").await).await.unwrap();
        let operator = role(&world, "operator").await;
        let relay = Started::relay(&world).await;
        let drill =
            Self { world, relay, workers: Vec::new(), number, publisher, operator, incident: Instant::now() };
        drill.until_ready(&drill.relay.process).await;
        drill
    }

    /// With these arguments in place of the world's `--endpoint`s, if there are any.
    pub(crate) async fn start_worker(&mut self, args: &[&str]) {
        let url = role(&self.world, "worker").await;
        let env = [("DATABASE_URL", url.as_str())];
        let process = match args {
            [] => self.world.worker_process_in(&env, &[]),
            args => {
                let router = self.world.router_file.display().to_string();
                let ours = ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--visibility", "30s"];
                let args = ours.iter().chain(args);
                Process::start(&crate::world::programs().join("worker"), args, &env).unwrap()
            }
        };
        let worker = Started::new(process).await;
        self.until_ready(&worker.process).await;
        self.workers.push(worker);
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
        let env = [
            ("DATABASE_URL", self.operator.as_str()),
            ("OUTBOX_ROUTER", router.as_str()),
            ("USER", "operator-a"),
        ];
        paste(&env, line).await
    }

    pub(crate) async fn json(&self, args: &str) -> Value {
        self.outbox(&format!("{args} --format json")).await.json()
    }

    /// The times count from here.
    pub(crate) fn incident(&mut self) {
        self.incident = Instant::now();
    }

    /// Waits until one problem or notice of `status` has all these words. Returns it, with its command and remedy.
    pub(crate) async fn named(&self, words: &[&str]) -> String {
        let mut found = None;
        until(&format!("status tells: {words:?}"), async || {
            found = self.problem(words).await;
            found.is_some()
        })
        .await;
        let found = found.unwrap();
        self.note(&format!("named after {:.1} s: {found}", self.incident.elapsed().as_secs_f64()));
        found
    }

    /// The problem or notice of `status` that has all these words.
    pub(crate) async fn problem(&self, words: &[&str]) -> Option<String> {
        let status = self.json("status").await;
        let all = ["problems", "notices"].into_iter().filter_map(|kind| status[kind].as_array());
        let mut texts = all.flatten().map(|one| {
            let parts = ["problem", "command", "remedy"].iter().filter_map(|part| one[part].as_str());
            parts.collect::<Vec<_>>().join(": ")
        });
        texts.find(|text| words.iter().all(|word| text.contains(word)))
    }

    /// Waits until `status` finds nothing stuck.
    pub(crate) async fn until_well(&self) {
        until("nothing is stuck", async || self.outbox("status").await.code == 0).await;
        self.note(&format!("repaired after {:.1} s", self.incident.elapsed().as_secs_f64()));
    }

    /// Waits until `why` of an event has these words. Returns all that it tells.
    pub(crate) async fn why(&self, event: EventId, words: &[&str]) -> Said {
        let mut said = None;
        until(&format!("why tells: {words:?}"), async || {
            let why = self.outbox(&format!("why {event}")).await;
            let told = words.iter().all(|word| why.out.contains(word));
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
        fires: impl Fn(f64) -> bool,
    ) {
        let rules = rules_of(alert);
        assert!(rules.contains(series), "{alert} does not read {series}: {rules}");
        until(&format!("{series} {labels:?} makes {alert} fire"), async || {
            let metrics = scrape::get(&at.addr, "/metrics").await.map(|(_, body)| body).unwrap_or_default();
            metrics.lines().any(|line| value(line, series, labels).is_some_and(&fires))
        })
        .await;
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

    /// With a role of its own.
    pub(crate) async fn relay(world: &World) -> Self {
        let url = role(world, "relay").await;
        Self::new(world.relay_process_in(&[("DATABASE_URL", &url)])).await
    }
}

/// The expressions of all alerts of this name.
pub(crate) fn rules_of(alert: &str) -> String {
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
            served.await.unwrap();
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
