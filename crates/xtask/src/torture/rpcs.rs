//! The RPCs' servers: Connect unary JSON by hand. They know whom they answered, and what.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outbox::EventId;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::history::{Answer, Call, Clock};
use super::routes::Rpc;

#[derive(Debug, Clone)]
pub(super) struct Rpcs {
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
    /// What came to an end: done, or refused for good.
    arrived: Mutex<HashSet<(EventId, Rpc)>>,
    random: Mutex<fastrand::Rng>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Connections end, and nobody is called.
    Down,
    /// Nobody is answered.
    Stalled,
    /// Everybody is told that it failed.
    Failing,
}

/// What a server does about a call.
enum Mood {
    Succeed,
    Refuse,
    Fail { status: u16, code: &'static str, retry_after: Option<&'static str> },
    Hang,
    HangUp,
}

impl Rpcs {
    /// Each worker has servers of its own: so it is known who calls.
    pub(super) async fn start(workers: &[&'static str], seed: u64, clock: Clock) -> std::io::Result<Self> {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let journal = Arc::new(Journal { clock, calls: Mutex::default(), arrived: Mutex::default(), random });
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

    /// As the worker of this name is told.
    pub(super) fn endpoints(&self, worker: &str) -> Vec<String> {
        let endpoint = |server: &Server| format!("{}=http://127.0.0.1:{}", server.rpc.service(), server.port);
        self.servers.iter().filter(|server| server.worker == worker).map(endpoint).collect()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.journal.calls.lock().expect("no panic while held").clone()
    }

    /// How many deliveries came to an end, done or refused for good.
    pub(super) fn arrived(&self) -> usize {
        self.journal.arrived.lock().expect("no panic while held").len()
    }

    pub(super) fn has_arrived(&self, event: EventId, rpc: Rpc) -> bool {
        self.journal.arrived.lock().expect("no panic while held").contains(&(event, rpc))
    }

    pub(super) async fn down(&self, whom: usize, time: Duration) -> &'static str {
        self.in_mode(whom, Mode::Down, time).await
    }

    pub(super) async fn stall(&self, whom: usize, time: Duration) -> &'static str {
        self.in_mode(whom, Mode::Stalled, time).await
    }

    /// All of its servers, whoever calls.
    pub(super) async fn fail(&self, rpc: Rpc, time: Duration) {
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
            // The port stays ours: whoever connects is turned away.
            if *self.mode.borrow() != Mode::Down {
                tokio::spawn(self.clone().converse(stream));
            }
        }
    }

    async fn converse(self, stream: TcpStream) {
        let mut mode = self.mode.subscribe();
        let service = service_fn(|request| self.answer(request));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            _ = mode.wait_for(|mode| *mode == Mode::Down) => {}
        }
        // What was answered is sent; calls under way see the mode themselves, and end the connection.
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    /// An error ends the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let event = header("outbox-event-id").and_then(|id| id.parse::<EventId>().ok());
        let attempt = header("outbox-attempt").and_then(|attempt| attempt.parse().ok());
        let (Some(event), Some(attempt), Some(rpc)) =
            (event, attempt, Rpc::of(parts.uri.path().trim_start_matches('/')))
        else {
            return Ok(respond(StatusCode::NOT_FOUND, "unimplemented", None));
        };
        let call =
            Call { event, rpc, worker: self.worker, attempt, came: self.journal.clock.now(), answer: None };
        let number = self.journal.comes(call);
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let (mood, pause) = self.mood(&body);
        let mut mode = self.mode.subscribe();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = mode.wait_for(|mode| *mode != Mode::Up) => {}
        }
        if *mode.borrow() == Mode::Stalled {
            let _ = mode.wait_for(|mode| *mode != Mode::Stalled).await;
            self.journal.answered(number, Answer::Failed);
            return Ok(respond(StatusCode::SERVICE_UNAVAILABLE, "unavailable", None));
        }
        match *mode.borrow() {
            Mode::Down => return Err(std::io::Error::other("down")),
            Mode::Failing => {
                self.journal.answered(number, Answer::Failed);
                return Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, "internal", None));
            }
            Mode::Up | Mode::Stalled => {}
        }
        match mood {
            Mood::Succeed => {
                self.journal.answered(number, Answer::Success);
                Ok(respond(StatusCode::OK, "", None))
            }
            Mood::Refuse => {
                self.journal.answered(number, Answer::Refused);
                Ok(respond(StatusCode::BAD_REQUEST, "invalid_argument", None))
            }
            Mood::Fail { status, code, retry_after } => {
                self.journal.answered(number, Answer::Failed);
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Ok(respond(status, code, retry_after))
            }
            Mood::Hang => {
                let _ = mode.wait_for(|mode| *mode == Mode::Down).await;
                Err(std::io::Error::other("down"))
            }
            Mood::HangUp => Err(std::io::Error::other("hung up")),
        }
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
            // The torture's own payloads are all readable.
            return (Mood::Refuse, Duration::ZERO);
        };
        let fail = |status, code, retry_after| Mood::Fail { status, code, retry_after };
        let mut random = self.journal.random.lock().expect("no panic while held");
        match self.rpc {
            Rpc::Steady => (Mood::Succeed, Duration::ZERO),
            Rpc::Strict if event.refuse => (Mood::Refuse, Duration::ZERO),
            Rpc::Strict => (Mood::Succeed, Duration::from_millis(random.u64(0..20))),
            Rpc::Moody => {
                let mood = match random.u8(0..100) {
                    0..60 => Mood::Succeed,
                    60..72 => fail(503, "unavailable", None),
                    72..85 => fail(500, "internal", None),
                    85..90 => fail(429, "resource_exhausted", Some("1")),
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

fn respond(status: StatusCode, code: &str, retry_after: Option<&'static str>) -> Response<Full<Bytes>> {
    let body = match status {
        StatusCode::OK => "{}".to_owned(),
        _ => format!(r#"{{"code":"{code}","message":"as the torture wants it"}}"#),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    if let Some(wait) = retry_after {
        headers.insert("retry-after", http::HeaderValue::from_static(wait));
    }
    response
}
