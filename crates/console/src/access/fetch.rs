//! Fetches one small document by HTTPS.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

const BYTES_MAX: usize = 256 * 1024;
const WITHIN: Duration = Duration::from_secs(5);

/// It follows no redirect.
pub(super) async fn fetch(url: &Uri) -> Result<Vec<u8>, String> {
    tokio::time::timeout(WITHIN, fetched(url))
        .await
        .map_err(|_| format!("no answer within {} s", WITHIN.as_secs()))?
}

async fn fetched(url: &Uri) -> Result<Vec<u8>, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("no root certificates: {error}"))?
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.get(url.clone()).await.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
    let bytes: Bytes = body.map_err(|error| error.to_string())?.to_bytes();
    Ok(bytes.to_vec())
}
