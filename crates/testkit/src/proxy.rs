//! A TCP proxy in front of Postgres, for one client, that can cut, refuse, stall and forget connections.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The time after which a server's kernel gives up a peer that vanished.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

/// Connections are numbered in the order of their arrival.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    next: u64,
    cut_below: u64,
    half_open_below: u64,
    /// The number of faults under way that refuse connections.
    refuses: u32,
    stalls: u32,
}

impl Proxy {
    /// Starts a proxy for the server on this local port. It ends with the runtime.
    pub async fn start(server: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let proxy = Self { port, state };
        let serving = proxy.clone();
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let mut number = 0;
                serving.state.send_modify(|state| {
                    number = state.next;
                    state.next += 1;
                });
                let state = serving.state.subscribe();
                if state.borrow().refuses == 0 {
                    tokio::spawn(carry(client, server, number, state));
                }
            }
        });
        Ok(proxy)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut_below = state.next);
    }

    /// Ends every connection and refuses new ones, for this time.
    pub async fn refuse(&self, time: Duration) {
        self.state.send_modify(|state| state.refuses += 1);
        self.cut();
        tokio::time::sleep(time).await;
        self.state.send_modify(|state| state.refuses -= 1);
    }

    /// Stops the traffic for this time, without a loss.
    pub async fn stall(&self, time: Duration) {
        self.hold_up();
        tokio::time::sleep(time).await;
        self.let_go();
    }

    /// Stops the traffic from here on, without a loss.
    pub fn hold_up(&self) {
        self.state.send_modify(|state| state.stalls += 1);
    }

    /// Lets the traffic go on, once for each `hold_up`.
    pub fn let_go(&self) {
        self.state.send_modify(|state| state.stalls = state.stalls.saturating_sub(1));
    }

    /// Open connections carry no more traffic. The server notices after a while, the client by itself or never.
    pub fn half_open(&self) {
        self.state.send_modify(|state| state.half_open_below = state.next);
    }
}

async fn carry(mut client: TcpStream, server: u16, number: u64, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let forgotten = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (there, back) = (state.clone(), state.clone());
        let both = async {
            tokio::join!(
                pump(&mut from_client, &mut to_server, there),
                pump(&mut from_server, &mut to_client, back)
            )
        };
        tokio::select! {
            _ = both => false,
            ended = state.wait_for(|state| number < state.cut_below || number < state.half_open_below) => {
                ended.is_ok_and(|state| number >= state.cut_below)
            }
        }
    };
    if forgotten {
        tokio::time::sleep(FORGOTTEN_AFTER).await;
        drop(server);
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if state.wait_for(|state| state.stalls == 0).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A server that echoes its input.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        port
    }

    async fn says(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
    }

    /// Guards torture: the proxy passes, cuts, refuses and stalls traffic without a loss, and forgets connections.
    #[tokio::test]
    async fn it_passes_cuts_refuses_stalls_and_forgets() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let connect = async || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        let mut stream = connect().await;
        assert!(says(&mut stream).await);

        proxy.cut();
        assert!(!tokio::time::timeout(SOON, says(&mut stream)).await.unwrap());
        let mut stream = connect().await;
        assert!(says(&mut stream).await);

        let stalling = proxy.clone();
        let stall = tokio::spawn(async move { stalling.stall(Duration::from_millis(300)).await });
        proxy.state.subscribe().wait_for(|state| state.stalls > 0).await.unwrap();
        let began = std::time::Instant::now();
        assert!(tokio::time::timeout(SOON, says(&mut stream)).await.unwrap());
        assert!(began.elapsed() >= Duration::from_millis(200));
        stall.await.unwrap();

        let refusing = proxy.clone();
        let refuse = tokio::spawn(async move { refusing.refuse(Duration::from_millis(300)).await });
        proxy.state.subscribe().wait_for(|state| state.refuses > 0).await.unwrap();
        assert!(!tokio::time::timeout(SOON, says(&mut connect().await)).await.unwrap());
        refuse.await.unwrap();

        let mut forgotten = connect().await;
        assert!(says(&mut forgotten).await);
        proxy.half_open();
        let silence = tokio::time::timeout(Duration::from_millis(300), says(&mut forgotten)).await;
        assert!(silence.is_err(), "no byte and no error comes back");
        assert!(says(&mut connect().await).await, "a new one works");
    }
}
