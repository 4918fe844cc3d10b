//! Connect: each code as each server sends it, and statuses without a code.

use super::row::{Answer, GRPC, JSON, Sent, error, response};

/// Connect's codes, each with its HTTP status.
const CODES: [(&str, u16); 16] = [
    ("canceled", 499),
    ("unknown", 500),
    ("invalid_argument", 400),
    ("deadline_exceeded", 504),
    ("not_found", 404),
    ("already_exists", 409),
    ("permission_denied", 403),
    ("resource_exhausted", 429),
    ("failed_precondition", 400),
    ("aborted", 409),
    ("out_of_range", 400),
    ("unimplemented", 501),
    ("internal", 500),
    ("unavailable", 503),
    ("data_loss", 500),
    ("unauthenticated", 401),
];
const CODE: &str = "connect-go protocol_connect.go: connectWireError, connectCodeToHTTP";
const ANY_STATUS: &str = "connect-go protocol_connect.go: validateResponse takes the code before the status";

/// The meaning of an HTTP status without a code.
const STATUSES: [(u16, &str); 46] = [
    (201, "unknown"),
    (202, "unknown"),
    (203, "unknown"),
    (204, "unknown"),
    (206, "unknown"),
    (300, "unknown"),
    (301, "unknown"),
    (302, "unknown"),
    (303, "unknown"),
    (304, "unknown"),
    (307, "unknown"),
    (308, "unknown"),
    (400, "internal"),
    (401, "unauthenticated"),
    (402, "unknown"),
    (403, "permission_denied"),
    (404, "unimplemented"),
    (405, "unknown"),
    (406, "unknown"),
    (407, "unknown"),
    (408, "unknown"),
    (409, "unknown"),
    (410, "unknown"),
    (411, "unknown"),
    (412, "unknown"),
    (413, "unknown"),
    (414, "unknown"),
    (415, "unknown"),
    (421, "unknown"),
    (422, "unknown"),
    (425, "unknown"),
    (426, "unknown"),
    (429, "unavailable"),
    (431, "internal"),
    (451, "unknown"),
    (499, "unknown"),
    (500, "unknown"),
    (501, "unknown"),
    (502, "unavailable"),
    (503, "unavailable"),
    (504, "unavailable"),
    (505, "unknown"),
    (520, "unknown"),
    (522, "unknown"),
    (524, "unknown"),
    (599, "unknown"),
];
const STATUS: &str = "connect-go protocol.go: httpToCode; 431 by gRPC's http-grpc-status-mapping.md";

pub(super) fn rows() -> Vec<Answer> {
    let mut rows = Vec::new();
    for (code, status) in CODES {
        let body = format!(r#"{{"code":"{code}","message":"no card 7"}}"#);
        rows.push(
            Answer::http1(format!("{code} with {status}"), error(status, &body), code, CODE)
                .says("no card 7"),
        );
        let other = if status == 500 { 400 } else { 500 };
        let row =
            Answer::http1(format!("{code} with {other}, to binary"), error(other, &body), code, ANY_STATUS);
        rows.push(row.sent(Sent::Proto));
    }
    for (status, code) in STATUSES {
        // 204 and 304 have no body.
        let page = if [204, 304].contains(&status) { "" } else { "<html><h1>said so</h1></html>" };
        let bytes = response(status, &[("content-type", "text/html")], page);
        rows.push(Answer::http1(format!("a page with {status}"), bytes, code, STATUS));
    }
    rows.extend(named());
    rows
}

fn named() -> [Answer; 6] {
    let moved = |location| response(301, &[("location", location)], "");
    const REDIRECT: &str =
        "connect-go validateResponse: no content type, httpToCode; F15: the address is named";
    const MAPPED: &str =
        "connect-go protocol_connect.go: connectValidateUnaryResponseContentType, httpToCode";
    [
        Answer::http1(
            "a redirect is not followed",
            moved("https://n.example/x?token=secret-7"),
            "unknown",
            REDIRECT,
        )
        .says("HTTP 301 to https://n.example/x"),
        Answer::http1("a redirect to a path", moved("/login"), "unknown", REDIRECT)
            .says("HTTP 301 to /login"),
        Answer::http1("nothing at all with 503", response(503, &[], ""), "unavailable", MAPPED)
            .says("HTTP 503"),
        Answer::http1(
            "JSON in another form",
            response(503, &[JSON], r#"{"error":"busy"}"#),
            "unavailable",
            MAPPED,
        )
        .says("HTTP 503"),
        Answer::http1("415 of a gRPC server", response(415, &[GRPC], ""), "unknown", MAPPED)
            .says("--encoding every.v1.EveryJsonService=grpc"),
        Answer::http1(
            "415 with a gRPC status",
            response(415, &[("grpc-status", "12"), ("content-type", "text/plain")], ""),
            "unknown",
            MAPPED,
        )
        .says("--encoding every.v1.EveryJsonService=grpc"),
    ]
}
