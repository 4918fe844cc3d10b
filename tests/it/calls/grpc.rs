//! What a gRPC server answers, and connections without an answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_worker::rpc::{By, Call, CallError, Code, RpcClient};
use tests::proto::every::v1::MaybeKeyedEvent;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Status;

use super::every::*;
use crate::world::PATIENCE;

/// Guards: a gRPC server's refusal differs from an outage, and keeps its message. Its pushback is honoured.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_statuses_are_understood() {
    let (taken, _takes) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(Status::unavailable("")));
    let answer = Arc::clone(&answers);
    let grpc = grpc_server(taken, move |_| Err(answer.lock().unwrap().clone())).await;
    let call = |status: Status| {
        *answers.lock().unwrap() = status;
        call(format!("http://{grpc}"), "EveryGrpcService", r#"{"id":1}"#)
    };
    let mut pushback = Status::unavailable("come back later");
    pushback.metadata_mut().insert("grpc-retry-pushback-ms", "1500".parse().unwrap());
    let cases = [
        (Status::invalid_argument("no such card: 7 %"), Code::InvalidArgument, "no such card: 7 %", None),
        (Status::already_exists("done"), Code::AlreadyExists, "done", None),
        (Status::permission_denied(""), Code::PermissionDenied, "", None),
        (Status::data_loss("é"), Code::DataLoss, "é", None),
        (pushback, Code::Unavailable, "come back later", Some(Duration::from_millis(1500))),
    ];
    for (status, code, message, retry_after) in cases {
        let error = call(status).await.unwrap_err();
        assert_eq!(error, CallError { code, message: message.to_owned(), retry_after, by: By::Server });
    }
}

/// Guards: no answer, or an answer in another protocol, is an error that says so, and never a success.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_fail_clearly() {
    let refused = call("http://127.0.0.1:1".into(), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused}");

    // A server without HTTP/2.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung =
        call(format!("http://{}", silent.local_addr().unwrap()), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!((hung.code, hung.message.as_str()), (Code::DeadlineExceeded, "no answer within 2s"));

    // A gRPC server without this service, and a Connect server without this path.
    let (taken, _takes) = mpsc::unbounded_channel();
    let grpc = grpc_server(taken.clone(), |_| Ok(())).await;
    let other = call(format!("http://{grpc}/prefix"), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!(other.code, Code::Unimplemented, "{other}");
    let connect = connect_server(taken).await;
    let other = call(format!("http://{connect}/prefix"), "EveryProtoService", "{}").await.unwrap_err();
    assert_eq!(other.code, Code::Unimplemented, "{other}");
}

/// Guards promise 6: a connection whose peer vanished is given up after a few calls, long before the kernel does.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_given_up() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let grpc = grpc_server(taken, |_| Ok(())).await;
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", between.local_addr().unwrap());
    tokio::spawn(async move {
        let (_lost, _) = between.accept().await.unwrap();
        loop {
            let (mut here, _) = between.accept().await.unwrap();
            let mut there = tokio::net::TcpStream::connect(&grpc).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
        }
    });
    let (router, rpc) = routed("EveryGrpcService", MAYBE);
    let client = client(&router, "EveryGrpcService", url);
    let body = body("EveryGrpcService", MAYBE, r#"{"id":1}"#);
    let message = outbox_event::Message::decode(&body).unwrap();
    let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_millis(300) };
    for _ in 0..3 {
        assert_eq!(client.call(&call).await.unwrap_err().code, Code::DeadlineExceeded);
    }
    client.call(&Call { timeout: PATIENCE, ..call }).await.unwrap();
    assert_eq!(takes.recv().await.unwrap().request.maybe, Some(MaybeKeyedEvent { id: Some(1) }));
}
