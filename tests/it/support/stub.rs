//! A server with AWS's JSON protocols that fails as a test defines: throttled, partial, slow, silent, or without an answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The answer to a request.
pub(crate) enum Answer {
    Ok(Value),
    /// AWS's error code, its message, and further fields.
    Error(&'static str, &'static str, Value),
    /// A success without its end.
    Truncated,
    /// The connection is closed without an answer. The request took effect.
    Lost,
    /// A late success.
    After(Duration, Value),
    /// No answer ever.
    Never,
}

type Behaviour = Arc<dyn Fn(&str, &Value) -> Answer + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) endpoint: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Stub {
    /// `behave` gets the operation, for example `PutEvents`, and its input.
    pub(crate) async fn start(behave: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let stub = Self { endpoint, asked: Arc::default() };
        let (serving, behave): (_, Behaviour) = (stub.clone(), Arc::new(behave));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (stub, behave) = (serving.clone(), Arc::clone(&behave));
                let service = hyper::service::service_fn(move |request| {
                    let (stub, behave) = (stub.clone(), Arc::clone(&behave));
                    async move { stub.answer(request, &behave).await }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        stub
    }

    /// Every input of an operation so far.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, _)| of == operation).map(|(_, input)| input.clone()).collect()
    }

    /// An error ends the connection.
    async fn answer(
        &self,
        request: Request<Incoming>,
        behave: &Behaviour,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let input: Value = serde_json::from_slice(&body).unwrap();
        self.asked.lock().unwrap().push((operation.clone(), input.clone()));
        let respond = |status: u16, body: String| {
            let response =
                Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
            Ok(response.body(Full::new(Bytes::from(body))).unwrap())
        };
        match behave(&operation, &input) {
            Answer::Ok(output) => respond(200, output.to_string()),
            Answer::Error(code, message, mut more) => {
                more["__type"] = json!(code);
                more["message"] = json!(message);
                respond(400, more.to_string())
            }
            Answer::After(time, output) => {
                tokio::time::sleep(time).await;
                respond(200, output.to_string())
            }
            Answer::Truncated => respond(200, r#"{"FailedEntryCount":0,"Entries":[{"EventId":"#.to_owned()),
            Answer::Lost => Err(std::io::Error::other("lost")),
            Answer::Never => {
                std::future::pending::<Infallible>().await;
                unreachable!("it never answers")
            }
        }
    }
}
