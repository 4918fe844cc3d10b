//! Asks a service's server for a method that no service has. TLS, HTTP, encoding and credentials are those of a call, and
//! nothing is run. A server that fits answers that it does not know the method.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri, header};
use outbox_event_router::Rpc;

use super::client::{AGENT, Client, Target};
use super::{By, CallError, Code, Encoding, hint};

const METHOD: &str = "OutboxDoctor";

/// What the answer says about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It speaks the protocol of the calls.
    Fits,
    /// It answered, but not as a server does that lacks the method.
    Odd { answer: String },
    /// Calls would fail.
    Fails { problem: String, remedy: &'static str },
}

impl Client {
    /// `None` if this worker does not call the RPC.
    pub async fn probe(&self, rpc: &Rpc, timeout: Duration) -> Option<Probe> {
        let target = self.target(rpc)?;
        let headers = [(header::USER_AGENT, HeaderValue::from_static(AGENT))];
        let headers: HeaderMap = headers.into_iter().collect();
        let answer = target.send(&unknown(target)?, headers, "outbox-doctor", empty(target), timeout).await;
        Some(judged(answer))
    }
}

/// The address with a method that is unknown.
fn unknown(target: &Target) -> Option<Uri> {
    let (service, _) = target.uri.path().rsplit_once('/')?;
    let mut parts = target.uri.clone().into_parts();
    parts.path_and_query = Some(format!("{service}/{METHOD}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn empty(target: &Target) -> Vec<u8> {
    match target.encoding {
        Encoding::Json => b"{}".to_vec(),
        Encoding::Proto | Encoding::Grpc => Vec::new(),
    }
}

fn judged(answer: Result<(), CallError>) -> Probe {
    let Err(error) = answer else {
        return Probe::Odd { answer: "it answered a method that it can't have with success".to_owned() };
    };
    let problem = || error.to_string();
    match (error.by, error.code) {
        (By::Server, Code::Unimplemented | Code::NotFound) => Probe::Fits,
        (By::Server, Code::Unauthenticated | Code::PermissionDenied) => {
            Probe::Fails { problem: problem(), remedy: hint::WANTS_TOKEN }
        }
        (By::Server, Code::Unknown | Code::Internal | Code::DeadlineExceeded) => {
            Probe::Fails { problem: problem(), remedy: "until then its deliveries fail, and are tried again" }
        }
        (By::Server, _) => Probe::Odd { answer: problem() },
        (By::Nobody | By::Worker, _) => Probe::Fails {
            problem: problem(),
            // The port takes connections, so something is there.
            remedy: "are that its scheme and port, and does its log say why it gave no answer? A server answers a method that it lacks, with 404. Until then its deliveries wait",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: only an answer that a fitting server gives is well.
    #[test]
    fn answers_are_judged() {
        let error = |by, code| CallError { code, message: "m".into(), retry_after: None, by };
        let fails = |by, code| matches!(judged(Err(error(by, code))), Probe::Fails { .. });
        assert_eq!(judged(Err(error(By::Server, Code::Unimplemented))), Probe::Fits);
        assert_eq!(judged(Err(error(By::Server, Code::NotFound))), Probe::Fits);
        assert!(matches!(judged(Ok(())), Probe::Odd { .. }));
        assert!(matches!(judged(Err(error(By::Server, Code::InvalidArgument))), Probe::Odd { .. }));
        for code in [Code::Unknown, Code::Internal, Code::Unauthenticated, Code::PermissionDenied] {
            assert!(fails(By::Server, code), "{code}");
        }
        for code in [Code::Unavailable, Code::Unimplemented] {
            assert!(fails(By::Nobody, code), "{code}");
        }
    }
}
