//! The relays and workers: real processes, which are killed, stopped and started again. Their logs are kept in files.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::EventId;
use serde::Deserialize;
use testkit::process::Process;
use testkit::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::clocks::WallClock;
use crate::history::{At, Clock, Complaint, Found};
use crate::routes::Rpc;
use crate::run::Failure;

const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// From SIGTERM on: the longest call, and some seconds to record its result.
const STOPS_WITHIN: Duration = Duration::from_secs(25);
/// The names of the databases, for Postgres, relays and workers.
pub(crate) const SOURCE: &str = "torture";
pub(crate) const SECOND: &str = "second";

/// One relay or worker, over all of its starts.
pub(crate) struct Member {
    pub(crate) name: String,
    /// The member's connection to Postgres.
    pub(crate) proxy: Proxy,
    /// `None` where clocks can't be set.
    wall_clock: Option<WallClock>,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    running: tokio::sync::Mutex<Option<Running>>,
    notes: Arc<Notes>,
}

struct Running {
    process: Process,
    said: Arc<Said>,
    /// The metric's value for each source at the last reading, and its time.
    found: ([u64; 2], At),
}

/// A killed member that is not started yet. The lock keeps other tasks from starting it.
pub(crate) struct Down<'a> {
    member: &'a Member,
    running: tokio::sync::MutexGuard<'a, Option<Running>>,
}

impl Down<'_> {
    pub(crate) fn start(mut self) -> std::io::Result<()> {
        *self.running = Some(self.member.started()?);
        Ok(())
    }
}

/// What a process's log has shown so far.
#[derive(Debug, Default)]
struct Said {
    metrics_addr: Mutex<Option<SocketAddr>>,
    leads: AtomicBool,
    /// The torture ended the process.
    ended_by_us: AtomicBool,
}

/// Notes on all members.
#[derive(Debug)]
pub(crate) struct Notes {
    clock: Clock,
    logs: PathBuf,
    unheard: Mutex<HashSet<(EventId, Rpc, u32)>>,
    found: Mutex<Vec<Found>>,
    looks: AtomicUsize,
    complaints: Mutex<Vec<Complaint>>,
}

impl Notes {
    pub(crate) fn new(clock: Clock, logs: &Path) -> Self {
        let logs = logs.to_owned();
        Self {
            clock,
            logs,
            unheard: Mutex::default(),
            found: Mutex::default(),
            looks: AtomicUsize::new(0),
            complaints: Mutex::default(),
        }
    }

    pub(crate) fn unheard(&self) -> HashSet<(EventId, Rpc, u32)> {
        self.unheard.lock().expect("no panic while held").clone()
    }

    pub(crate) fn found(&self) -> Vec<Found> {
        self.found.lock().expect("no panic while held").clone()
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        self.complaints.lock().expect("no panic while held").clone()
    }

    pub(crate) fn complain(&self, kind: &'static str, what: String) {
        self.complaints.lock().expect("no panic while held").push(Complaint { kind, what });
    }
}

impl Member {
    pub(crate) fn new(
        name: &str,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
        proxy: Proxy,
        wall_clock: Option<WallClock>,
        notes: Arc<Notes>,
    ) -> Self {
        let env = [env, wall_clock.as_ref().map(WallClock::environment).unwrap_or_default()].concat();
        let running = tokio::sync::Mutex::new(None);
        Self { name: name.to_owned(), proxy, wall_clock, program, args, env, running, notes }
    }

    pub(crate) async fn start(&self) -> std::io::Result<()> {
        *self.running.lock().await = Some(self.started()?);
        Ok(())
    }

    fn started(&self) -> std::io::Result<Running> {
        let env: Vec<(&str, &str)> =
            self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut process = Process::start(&self.program, &self.args, &env)?;
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(self.notes.logs.join(format!("{}.log", self.name)))?;
        let now = self.notes.clock.now();
        writeln!(log, "=== started at {:.3} s as pid {}", now.as_secs_f64(), process.pid())?;
        let said = Arc::<Said>::default();
        let (lines, name, notes) = (process.take_lines(), self.name.clone(), Arc::clone(&self.notes));
        tokio::spawn(listen(lines, name, Arc::clone(&said), notes, log));
        Ok(Running { process, said, found: ([0; 2], now) })
    }

    /// Kills it, as `kill -9` does, and starts it again.
    pub(crate) async fn kill_and_restart(&self) -> std::io::Result<()> {
        self.kill().await?.start()
    }

    pub(crate) async fn kill(&self) -> std::io::Result<Down<'_>> {
        let mut running = self.running.lock().await;
        if let Some(old) = running.take() {
            old.said.ended_by_us.store(true, Ordering::SeqCst);
            let pid = old.process.pid();
            old.process.kill().await?;
            WallClock::sweep(pid);
        }
        Ok(Down { member: self, running })
    }

    /// Stops its process as a debugger does, and continues it.
    pub(crate) async fn pause(&self, time: Duration) -> std::io::Result<()> {
        self.signal("STOP").await?;
        tokio::time::sleep(time).await;
        // A process that was started meanwhile runs already.
        self.signal("CONT").await
    }

    /// Sets its clock wrong for a while, over kills and starts.
    pub(crate) async fn misdate(&self, off_ms: i64, time: Duration) -> Result<(), Failure> {
        let clock = self.wall_clock.as_ref().ok_or("libfaketime is missing")?;
        clock.set(off_ms)?;
        tokio::time::sleep(time).await;
        Ok(clock.set(0)?)
    }

    async fn signal(&self, signal: &str) -> std::io::Result<()> {
        match &*self.running.lock().await {
            Some(running) => running.process.signal(signal),
            None => Ok(()),
        }
    }

    /// Whether it leads the first database.
    pub(crate) async fn leads(&self) -> bool {
        let running = self.running.lock().await;
        running.as_ref().is_some_and(|running| running.said.leads.load(Ordering::SeqCst))
    }

    /// Reads from a relay whether its fallback poll ever found an event. A relay without an answer is read again later.
    pub(crate) async fn look(&self) {
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else { return };
        let addr = *running.said.metrics_addr.lock().expect("no panic while held");
        let Some(addr) = addr else { return };
        let Ok(Some(metrics)) = tokio::time::timeout(ANSWERS_WITHIN, metrics(addr)).await else { return };
        let ((before, from), to) = (running.found, self.notes.clock.now());
        for (at, source) in [SOURCE, SECOND].into_iter().enumerate() {
            let Some(value) = found_by_fallback(&metrics, source) else { continue };
            // The first source always has a metric.
            self.notes.looks.fetch_add(usize::from(at == 0), Ordering::Relaxed);
            running.found.0[at] = value;
            running.found.1 = to;
            if value > before[at] {
                let events = value - before[at];
                let found = Found { relay: self.name.clone(), source, events, from, to };
                self.notes.found.lock().expect("no panic while held").push(found);
            }
        }
    }

    /// Stops it, which must be quick and successful.
    pub(crate) async fn stop(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        running.said.ended_by_us.store(true, Ordering::SeqCst);
        let (pid, began) = (running.process.pid(), self.notes.clock.now());
        let what = match tokio::time::timeout(STOPS_WITHIN, running.process.stop()).await {
            Ok(Ok(status)) if status.success() => return,
            Ok(Ok(status)) => format!("{} (pid {pid}) ended with {status}", self.name),
            Ok(Err(error)) => format!("{} (pid {pid}): {error}", self.name),
            Err(_) => {
                let within = STOPS_WITHIN.as_secs();
                format!("{} (pid {pid}) did not stop within {within} s of SIGTERM", self.name)
            }
        };
        self.notes.complain("not_stopped", format!("{what}, asked at {:.1} s", began.as_secs_f64()));
    }
}

fn found_by_fallback(metrics: &str, source: &str) -> Option<u64> {
    let name = format!("outbox_relay_fallback_found_total{{source=\"{source}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(name.as_str())?.trim().parse().ok())
}

async fn metrics(addr: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(addr).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// The fields of a log line that the torture reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    message: String,
    source: String,
    addr: String,
    rpc: String,
    event_id: String,
    attempt: u32,
    code: String,
}

async fn listen(
    mut lines: mpsc::UnboundedReceiver<String>,
    name: String,
    said: Arc<Said>,
    notes: Arc<Notes>,
    mut log: File,
) {
    while let Some(line) = lines.recv().await {
        let _ = writeln!(log, "{line}");
        if line.contains("panicked at") {
            notes.complain("panicked", format!("{name}: {line}"));
        }
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        match line.message.as_str() {
            "leading" if line.source == SOURCE => said.leads.store(true, Ordering::SeqCst),
            "stepped down" if line.source == SOURCE => said.leads.store(false, Ordering::SeqCst),
            message if message.starts_with("serving /metrics") => {
                *said.metrics_addr.lock().expect("no panic while held") = line.addr.parse().ok();
            }
            message if message.starts_with("failed: trying again") && line.code == "deadline_exceeded" => {
                if let (Ok(event), Some(rpc)) = (line.event_id.parse(), Rpc::of(&line.rpc)) {
                    notes.unheard.lock().expect("no panic while held").insert((event, rpc, line.attempt));
                }
            }
            _ => {}
        }
    }
    let now = notes.clock.now().as_secs_f64();
    let _ = writeln!(log, "=== ended at {now:.3} s");
    if !said.ended_by_us.load(Ordering::SeqCst) {
        notes.complain("ended", format!("{name} ended by itself at {now:.1} s"));
    }
}
