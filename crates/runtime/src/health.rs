use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::Readiness;

/// Serves `/metrics`, `/healthz` and `/readyz` on `addr` in the background; returns the address it got (port 0 picks one).
pub(crate) async fn serve(
    addr: SocketAddr,
    metrics: PrometheusHandle,
    readiness: Readiness,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (metrics, readiness) = (metrics.clone(), readiness.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = answer(&request, &metrics, &readiness);
                    async move { Ok::<_, Infallible>(response) }
                });
                // An error means that the scraper closed the connection early.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(bound)
}

fn answer(
    request: &Request<Incoming>,
    metrics: &PrometheusHandle,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            metrics.run_upkeep();
            // Set as it is read, so that it can be compared with the time of the scrape.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            metrics::gauge!("outbox_clock_seconds").set(now.as_secs_f64());
            (StatusCode::OK, metrics.render())
        }
        (&Method::GET, "/healthz") => (StatusCode::OK, "alive\n".to_owned()),
        (&Method::GET, "/readyz") => match readiness.problems(Instant::now()) {
            none if none.is_empty() => {
                let said = [vec!["ready".to_owned()], readiness.noted()].concat();
                (StatusCode::OK, said.join("\n") + "\n")
            }
            problems => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n"),
        },
        _ => (StatusCode::NOT_FOUND, "known here: /metrics, /healthz, /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}
