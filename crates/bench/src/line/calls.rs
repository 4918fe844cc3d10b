//! A server behind a real Connect call, which answers at once and notes the time of each call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::publisher::now;
use crate::result::Result;

#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) endpoint: String,
    noted: Arc<Noted>,
    /// Stops serving when it is dropped.
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Noted {
    calls: AtomicUsize,
    /// When the first call of each event came.
    entered: Mutex<HashMap<u64, i64>>,
}

impl Calls {
    pub(crate) async fn serve() -> Result<Self> {
        Self::serving(None).await
    }

    /// The first call of one event in so many fails.
    pub(crate) async fn serve_failing(one_in: u64) -> Result<Self> {
        Self::serving(Some(one_in)).await
    }

    async fn serving(failing: Option<u64>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let noted = Arc::<Noted>::default();
        let note = Arc::clone(&noted);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let note = Arc::clone(&note);
                let service =
                    hyper::service::service_fn(move |request| answer(request, Arc::clone(&note), failing));
                let server = hyper::server::conn::http1::Builder::new();
                let connection = server.serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    // It ends when the client disconnects.
                    let _ = connection.await;
                });
            }
        });
        Ok(Self { endpoint, noted, _serving: serving })
    }

    /// Of any event, also of one that was called before.
    pub(crate) fn calls(&self) -> usize {
        self.noted.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self) -> usize {
        self.noted.entered.lock().expect("no panic while held").len()
    }

    pub(crate) fn entered(&self) -> HashMap<u64, Vec<i64>> {
        let entered = self.noted.entered.lock().expect("no panic while held");
        entered.iter().map(|(&n, &at)| (n, vec![at])).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    noted: Arc<Noted>,
    failing: Option<u64>,
) -> std::result::Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    noted.calls.fetch_add(1, Ordering::Relaxed);
    let mut fails = false;
    if let Some(n) = number(&body) {
        let mut entered = noted.entered.lock().expect("no panic while held");
        fails = failing.is_some_and(|one_in| n % one_in == 0) && !entered.contains_key(&n);
        entered.entry(n).or_insert_with(now);
    }
    let (status, body) =
        if fails { (500, r#"{"code":"internal","message":"not yet"}"#) } else { (200, "{}") };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("it is well-formed"))
}

/// The event's number in a request.
fn number(body: &[u8]) -> Option<u64> {
    let body = std::str::from_utf8(body).ok()?;
    crate::database::number(&body[body.find(r#"{"n":"#)?..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a call has its event's number.
    #[test]
    fn calls_carry_their_number() {
        let body = format!(r#"{{"event":{}}}"#, crate::database::payload(42));
        assert_eq!(number(body.as_bytes()), Some(42));
        assert_eq!(number(b"{}"), None);
    }
}
