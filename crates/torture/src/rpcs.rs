//! The RPCs' servers: Connect unary JSON by hand, and other servers' answers byte for byte. They note every call and answer.

mod wire; // requests and answers as bytes

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::EventId;
use serde::Deserialize;
use testkit::answers::{Then, end, read_http1};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::{Head, Row, Written, respond, rows};

use crate::history::{Answer, Call, Clock};
use crate::routes::Rpc;

#[derive(Debug, Clone)]
pub(crate) struct Rpcs {
    servers: Vec<Server>,
    journal: Arc<Journal>,
}

#[derive(Debug, Clone)]
struct Server {
    rpc: Rpc,
    worker: &'static str,
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
    journal: Arc<Journal>,
}

#[derive(Debug)]
struct Journal {
    clock: Clock,
    calls: Mutex<Vec<Call>>,
    /// Deliveries that ended: done, or refused for good.
    arrived: Mutex<HashSet<(EventId, Rpc)>>,
    random: Mutex<fastrand::Rng>,
    /// Answers of other servers.
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Connections are refused, and no call is noted.
    Down,
    /// No call is answered.
    Stalled,
    /// Every call fails.
    Failing,
}

/// A server's reaction to a call.
enum Mood {
    Succeed,
    Refuse,
    /// One of the rows, which may be a success.
    Answer(usize),
    Hang,
    HangUp,
}

impl Rpcs {
    /// Starts servers for each worker, so that the calling worker is known.
    pub(crate) async fn start(workers: &[&'static str], seed: u64, clock: Clock) -> std::io::Result<Self> {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let (calls, arrived) = (Mutex::default(), Mutex::default());
        let journal = Arc::new(Journal { clock, calls, arrived, random, rows: rows() });
        let mut servers = Vec::new();
        for rpc in Rpc::ALL {
            let mode = Arc::new(watch::Sender::new(Mode::Up));
            for worker in workers {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let port = listener.local_addr()?.port();
                let (mode, journal) = (Arc::clone(&mode), Arc::clone(&journal));
                let server = Server { rpc, worker, port, mode, journal };
                tokio::spawn(server.clone().serve(listener));
                servers.push(server);
            }
        }
        Ok(Self { servers, journal })
    }

    /// The options of the worker with this name.
    pub(crate) fn endpoints(&self, worker: &str) -> Vec<String> {
        let endpoint = |server: &Server| format!("{}=http://127.0.0.1:{}", server.rpc.service(), server.port);
        self.servers.iter().filter(|server| server.worker == worker).map(endpoint).collect()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.journal.calls.lock().expect("no panic while held").clone()
    }

    /// The number of deliveries that ended, done or refused for good.
    pub(crate) fn arrived(&self) -> usize {
        self.journal.arrived.lock().expect("no panic while held").len()
    }

    pub(crate) fn has_arrived(&self, event: EventId, rpc: Rpc) -> bool {
        self.journal.arrived.lock().expect("no panic while held").contains(&(event, rpc))
    }

    pub(crate) async fn down(&self, whom: usize, time: Duration) -> &'static str {
        self.in_mode(whom, Mode::Down, time).await
    }

    pub(crate) async fn stall(&self, whom: usize, time: Duration) -> &'static str {
        self.in_mode(whom, Mode::Stalled, time).await
    }

    /// Fails an RPC on all of its servers, for every worker.
    pub(crate) async fn fail(&self, rpc: Rpc, time: Duration) {
        let servers = || self.servers.iter().filter(|server| server.rpc == rpc);
        for server in servers() {
            server.mode.send_replace(Mode::Failing);
        }
        tokio::time::sleep(time).await;
        for server in servers() {
            server.mode.send_replace(Mode::Up);
        }
    }

    async fn in_mode(&self, whom: usize, mode: Mode, time: Duration) -> &'static str {
        let server = &self.servers[whom % self.servers.len()];
        server.mode.send_replace(mode);
        tokio::time::sleep(time).await;
        server.mode.send_replace(Mode::Up);
        server.rpc.name()
    }
}

impl Server {
    async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // The port stays reserved, so that every connection is refused.
            if *self.mode.borrow() != Mode::Down {
                tokio::spawn(self.clone().converse(stream));
            }
        }
    }

    async fn converse(self, stream: TcpStream) {
        let (mut stream, mut mode) = (BufReader::new(stream), self.mode.subscribe());
        loop {
            let request = tokio::select! {
                request = read_http1(&mut stream) => request,
                // Calls under way check the mode themselves, and end the connection.
                _ = mode.wait_for(|mode| *mode == Mode::Down) => return,
            };
            let Ok(Some((head, body))) = request else { return };
            let Some(Written { bytes, then }) = self.answer(&Head(&head), &body).await else { return };
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
            if then != Then::KeepOpen {
                let _ = end(stream, then).await;
                return;
            }
        }
    }

    /// `None` ends the connection without an answer.
    async fn answer(&self, head: &Head<'_>, body: &[u8]) -> Option<Written> {
        let event = head.header("outbox-event-id").and_then(|id| id.parse::<EventId>().ok());
        let attempt = head.header("outbox-attempt").and_then(|attempt| attempt.parse().ok());
        let (Some(event), Some(attempt), Some(rpc)) =
            (event, attempt, Rpc::of(head.path().trim_start_matches('/')))
        else {
            return Some(respond(404, "unimplemented"));
        };
        let call =
            Call { event, rpc, worker: self.worker, attempt, came: self.journal.clock.now(), answer: None };
        let number = self.journal.comes(call);
        let (mood, pause) = self.mood(body);
        let mut mode = self.mode.subscribe();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = mode.wait_for(|mode| *mode != Mode::Up) => {}
        }
        if *mode.borrow() == Mode::Stalled {
            let _ = mode.wait_for(|mode| *mode != Mode::Stalled).await;
            self.journal.answered(number, Answer::Failed);
            return Some(respond(503, "unavailable"));
        }
        match *mode.borrow() {
            Mode::Down => return None,
            Mode::Failing => {
                self.journal.answered(number, Answer::Failed);
                return Some(respond(500, "internal"));
            }
            Mode::Up | Mode::Stalled => {}
        }
        let (answer, written) = match mood {
            Mood::Succeed => (Answer::Success, respond(200, "")),
            Mood::Refuse => (Answer::Refused, respond(400, "invalid_argument")),
            Mood::Answer(at) => {
                let row = &self.journal.rows[at];
                (row.answer, row.written.clone())
            }
            Mood::Hang => {
                let _ = mode.wait_for(|mode| *mode == Mode::Down).await;
                return None;
            }
            Mood::HangUp => return None,
        };
        self.journal.answered(number, answer);
        Some(written)
    }

    fn mood(&self, body: &[u8]) -> (Mood, Duration) {
        #[derive(Deserialize)]
        struct Body {
            event: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            #[serde(default)]
            refuse: bool,
        }
        let Ok(Body { event }) = serde_json::from_slice(body) else {
            // A payload of the torture is always readable.
            return (Mood::Refuse, Duration::ZERO);
        };
        let mut random = self.journal.random.lock().expect("no panic while held");
        match self.rpc {
            Rpc::Steady => (Mood::Succeed, Duration::ZERO),
            Rpc::Strict if event.refuse => (Mood::Refuse, Duration::ZERO),
            Rpc::Strict => (Mood::Succeed, Duration::from_millis(random.u64(0..20))),
            Rpc::Moody => {
                let mood = match random.u8(0..100) {
                    0..60 => Mood::Succeed,
                    60..90 => Mood::Answer(random.usize(..self.journal.rows.len())),
                    90..96 => Mood::Hang,
                    _ => Mood::HangUp,
                };
                (mood, Duration::from_millis(random.u64(0..100)))
            }
        }
    }
}

impl Journal {
    fn comes(&self, call: Call) -> usize {
        let mut calls = self.calls.lock().expect("no panic while held");
        calls.push(call);
        calls.len() - 1
    }

    fn answered(&self, number: usize, answer: Answer) {
        let at = self.clock.now();
        let call = &mut self.calls.lock().expect("no panic while held")[number];
        call.answer = Some((answer, at));
        if answer != Answer::Failed {
            self.arrived.lock().expect("no panic while held").insert((call.event, call.rpc));
        }
    }
}
