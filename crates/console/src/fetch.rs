//! Fetches one small document by HTTP. It follows no redirect.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
#[cfg(feature = "prometheus")]
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const BYTES_MAX: usize = 256 * 1024;
const WITHIN: Duration = Duration::from_secs(5);

/// By HTTPS alone.
#[cfg(feature = "jwt")]
pub(crate) async fn fetch(url: &Uri) -> Result<Vec<u8>, String> {
    within(securely(url)).await
}

/// By HTTP, too: without secrets, and within a network of one's own.
#[cfg(feature = "prometheus")]
pub(crate) async fn fetch_from_inside(url: &Uri) -> Result<Vec<u8>, String> {
    if url.scheme_str() != Some("http") {
        return within(securely(url)).await;
    }
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    within(async { client.get(url.clone()).await.map_err(|error| chain(&error)) }).await
}

async fn within(answer: impl Future<Output = Result<Response<Incoming>, String>>) -> Result<Vec<u8>, String> {
    let fetched = async {
        let answer = answer.await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
        let bytes: Bytes = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(bytes.to_vec())
    };
    tokio::time::timeout(WITHIN, fetched)
        .await
        .map_err(|_| format!("no answer within {} s", WITHIN.as_secs()))?
}

async fn securely(url: &Uri) -> Result<Response<Incoming>, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("no root certificates: {error}"))?
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    client.get(url.clone()).await.map_err(|error| chain(&error))
}

/// With its causes: `client error (Connect): tcp connect error: Connection refused`
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
