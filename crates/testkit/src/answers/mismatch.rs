//! Servers with another protocol than the client's: the message names the remedy.

use super::frames::{SETTINGS, frame};
use super::row::{Answer, Sent, Then, Wire, response};

const WORDS: &str = "F15: a mismatch is told in words that name the remedy";
/// A fatal alert of TLS 1.2: an unexpected message.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 10];
/// A fatal alert: none of the protocols that the client offers.
const NO_PROTOCOL: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 120];
const NGINX: &str = "<html><body>The plain HTTP request was sent to HTTPS port</body></html>";
const GO: &str = "Client sent an HTTP request to an HTTPS server.\n";

pub(super) fn rows() -> Vec<Answer> {
    let row = |name: &str, sent, scheme, wire, code, says| {
        Answer::new(name.to_owned(), sent, scheme, wire, code, WORDS).then(Then::Close).says(says)
    };
    let (json, grpc) = (Sent::Json, Sent::Grpc);
    let bad_request =
        || b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    let goaway = [SETTINGS.to_vec(), frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1])].concat();
    const H2: &str = "it speaks HTTP/2 only: write h2c://";
    const NO_H2: &str = "it does not speak HTTP/2";
    const TLS: &str = "it speaks TLS: write https://";
    const NO_TLS: &str = "it does not speak TLS: write http://";
    vec![
        row("HTTP/2 greets HTTP/1.1", json, "http", Wire::Greeting(SETTINGS.to_vec()), "unavailable", H2),
        row("HTTP/2 answers HTTP/1.1", json, "http", Wire::Foreign(SETTINGS.to_vec()), "unavailable", H2),
        row("HTTP/2 refuses HTTP/1.1", json, "http", Wire::Foreign(goaway), "unavailable", H2),
        row("HTTP/1.1 answers HTTP/2", json, "h2c", Wire::Foreign(bad_request()), "unavailable", NO_H2),
        row(
            "HTTP/1.1 answers HTTP/2 of binary",
            Sent::Proto,
            "h2c",
            Wire::Foreign(bad_request()),
            "unavailable",
            NO_H2,
        ),
        row("HTTP/1.1 answers gRPC", grpc, "http", Wire::Foreign(bad_request()), "unavailable", NO_H2)
            .says("--encoding every.v1.EveryGrpcService=json"),
        row("TLS answers HTTP/1.1", json, "http", Wire::Foreign(ALERT.to_vec()), "unavailable", TLS),
        row("TLS answers HTTP/2", json, "h2c", Wire::Foreign(ALERT.to_vec()), "unavailable", TLS),
        row("TLS answers gRPC", grpc, "http", Wire::Foreign(ALERT.to_vec()), "unavailable", TLS),
        row("HTTP/1.1 answers TLS", json, "https", Wire::Foreign(bad_request()), "unavailable", NO_TLS),
        row("HTTP/2 answers TLS", json, "https", Wire::Greeting(SETTINGS.to_vec()), "unavailable", NO_TLS),
        row(
            "HTTP/2 answers TLS of gRPC",
            grpc,
            "https",
            Wire::Greeting(SETTINGS.to_vec()),
            "unavailable",
            NO_TLS,
        ),
        row(
            "TLS without HTTP/2 answers gRPC",
            grpc,
            "https",
            Wire::Foreign(NO_PROTOCOL.to_vec()),
            "unavailable",
            NO_H2,
        ),
        Answer::http1(
            "nginx wants TLS",
            response(400, &[("content-type", "text/html")], NGINX),
            "internal",
            WORDS,
        )
        .says(TLS),
        Answer::http1("Go wants TLS", response(400, &[], GO), "internal", WORDS).says(TLS),
    ]
}
