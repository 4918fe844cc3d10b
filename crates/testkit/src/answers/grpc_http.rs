//! gRPC: answers from other servers, or in an invalid form.

use super::frames::Frame;
use super::row::{Answer, GRPC};

const TABLE: &str = "gRPC's http-grpc-status-mapping.md; grpc-go http_util.go: HTTPStatusConvTab";
const MUST: &str = "http-grpc-status-mapping.md: if grpc-status was provided, it must be used";
const KIND: &str =
    "grpc-go operateHeaders: not application/grpc, so the HTTP status decides, and 200 is UNKNOWN";
const SKIPPED: &str = "grpc-go operateHeaders: 1xx are passed over";

pub(super) fn rows() -> Vec<Answer> {
    [statuses(), kinds()].concat()
}

fn statuses() -> Vec<Answer> {
    let table = [
        ("204", "unknown"),
        ("301", "unknown"),
        ("400", "internal"),
        ("401", "unauthenticated"),
        ("403", "permission_denied"),
        ("404", "unimplemented"),
        ("408", "unknown"),
        ("413", "unknown"),
        ("429", "unavailable"),
        ("431", "internal"),
        ("500", "unknown"),
        ("502", "unavailable"),
        ("503", "unavailable"),
        ("504", "unavailable"),
    ];
    let mut rows = Vec::new();
    for (status, code) in table {
        let html = Frame::headers(&[(":status", status), ("content-type", "text/html")], false);
        let page = vec![html, Frame::data("<html>", true)];
        rows.push(Answer::grpc(format!("gRPC: a page with {status}"), page, code, TABLE));
        let bare = vec![Frame::headers(&[(":status", status), GRPC], true)];
        rows.push(Answer::grpc(format!("gRPC: {status} without a status"), bare, code, TABLE));
    }
    let with = |http, status| {
        vec![Frame::headers(&[(":status", http), GRPC, ("grpc-status", status), ("grpc-message", "m")], true)]
    };
    rows.extend([
        Answer::grpc("gRPC: 503 with status 6", with("503", "6"), "already_exists", MUST).says("m"),
        Answer::grpc("gRPC: 204 with status 14, as nginx is told to", with("204", "14"), "unavailable", MUST)
            .says("m"),
        Answer::grpc(
            "gRPC: 503 with status 0",
            with("503", "0"),
            "unavailable",
            "connect-go grpcValidateResponse: no success but with 200",
        ),
    ]);
    rows
}

fn kinds() -> Vec<Answer> {
    let of = |kind| {
        vec![Frame::headers(&[(":status", "200"), ("content-type", kind), ("grpc-status", "0")], true)]
    };
    let none = vec![Frame::headers(&[(":status", "200"), ("grpc-status", "0")], true)];
    let early = Frame::headers(&[(":status", "103"), ("link", "</a>")], false);
    let after = vec![early, Frame::headers(&[(":status", "200"), GRPC, ("grpc-status", "0")], true)];
    let unsupported = |kind| vec![Frame::headers(&[(":status", "415"), ("content-type", kind)], true)];
    vec![
        Answer::grpc("gRPC: a page with 200", of("text/html"), "unknown", KIND)
            .says("is this a gRPC server?"),
        Answer::grpc("gRPC: JSON with 200", of("application/json"), "unknown", KIND),
        Answer::grpc("gRPC: gRPC-Web with 200", of("application/grpc-web+proto"), "unknown", KIND),
        Answer::grpc("gRPC: another kind with 200", of("application/grpcx"), "unknown", KIND),
        Answer::grpc("gRPC: no kind with 200", none, "unknown", KIND),
        Answer::grpc("gRPC: a success after 103", after, "", SKIPPED),
        Answer::grpc("gRPC: 415 of a Connect server", unsupported("text/plain"), "unknown", TABLE)
            .says("--encoding every.v1.EveryGrpcService=json"),
        Answer::grpc("gRPC: 415 with JSON", unsupported("application/json"), "unknown", TABLE)
            .says("--encoding every.v1.EveryGrpcService=json"),
    ]
}
