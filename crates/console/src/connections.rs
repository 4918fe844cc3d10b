//! Serves the pages. Strangers hold few connections, and each of them for a short time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower_service::Service;

/// Others wait until one of these ends. A process may mostly open 1024 files.
const CONNECTIONS_MAX: usize = 512;
/// A connection that sends no request within this is closed.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// And one that sends no other request. It is longer than load balancers keep an idle connection, so that none is closed while a
/// request is on its way.
const NEXT_WITHIN: Duration = Duration::from_secs(75);
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After an error of the listener, as when no more files can be opened.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves it until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    at_most(CONNECTIONS_MAX, listener, router).await
}

async fn at_most(connections_max: usize, listener: TcpListener, router: Router) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let router = router.clone();
        connections.spawn(async move {
            let _place = place;
            connection(stream, peer, router).await;
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router) {
    let _ = stream.set_nodelay(true);
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        router.clone().call(request)
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(NEXT_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    let too_late = async {
        sleep(FIRST_WITHIN).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // An error means that the browser closed the connection early.
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = too_late => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const FEW: usize = 8;

    async fn served() -> (SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, tokio::spawn(at_most(FEW, listener, Router::new().route("/", get(peer)))))
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    /// Guards: who sends no whole request is disconnected. The clock of the test moves on while all wait.
    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_is_disconnected() {
        let (address, _serving) = served().await;
        for (sent, answered) in [
            ("", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", true),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let told = rest(&mut stream).await;
            assert_eq!(
                told.contains(&stream.local_addr().unwrap().to_string()),
                answered,
                "{sent:?}: {told}"
            );
        }
    }

    /// Guards: those who ask nothing leave room for others, after a short time.
    #[tokio::test(start_paused = true)]
    async fn strangers_leave_room() {
        let (address, _serving) = served().await;
        let mut idle = Vec::new();
        for _ in 0..FEW {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(rest(&mut stream).await.contains("200 OK"));
        for mut one in idle {
            assert_eq!(rest(&mut one).await, "");
        }
    }
}
