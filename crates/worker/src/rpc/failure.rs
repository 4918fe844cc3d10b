//! A call whose answer is missing or broken: the cause, and its code.

use std::error::Error;

use h2::Reason;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::Code;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// The library's text.
    pub(super) message: String,
    /// Set if the server speaks another protocol than the call.
    pub(super) mismatch: Option<Mismatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    NoConnection,
    Lost,
    /// HTTP/2: the server goes away, and has not begun the call.
    GoneAway,
    /// HTTP/2: the server ended the call.
    Reset(Reason),
    /// The answer violates the protocol.
    Unreadable,
}

/// How the protocol of a server differs from that of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    Http2Only,
    NoHttp2,
    Tls,
    NoTls,
    /// Its certificate is of an authority that this machine does not trust.
    Untrusted,
    /// Its certificate is for other names.
    OtherName,
    /// It refuses calls without a client certificate that it trusts.
    WantsCertificate,
}

/// The connection for a repeated call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Any connection.
    Anyhow,
    /// A new connection.
    Afresh,
}

impl Failure {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mismatch = chain(error).find_map(of_handshake);
        Self { cause: Cause::of(error), message: outbox_runtime::Chain(error).to_string(), mismatch }
    }

    /// `unavailable` means that no server answers there. If a server has sent something, the failure is its own.
    pub(super) fn code(&self) -> Code {
        match self.cause {
            // No call can succeed at that address.
            _ if self.mismatch.is_some() => Code::Unavailable,
            Cause::NoConnection | Cause::Lost | Cause::GoneAway => Code::Unavailable,
            Cause::Reset(reason) => of_reason(reason),
            // An answer came, so a server is there.
            Cause::Unreadable => Code::Internal,
        }
    }

    /// Whether a call that failed before its answer began is made once more at once, within the same attempt.
    ///
    /// In HTTP/2 a server says that it has not begun a call. A server that closes an idle connection as a call arrives does
    /// not. Two facts show this case: the connection was `used` before, and no byte of an answer came (`silent`). Such a call
    /// may have been begun. Calls are made at least once and carry an Idempotency-Key, so it is repeated; Go's net/http does
    /// the same with such requests.
    pub(super) fn again(&self, used: bool, silent: bool) -> Option<Again> {
        match self.cause {
            Cause::Reset(Reason::REFUSED_STREAM) => Some(Again::Anyhow),
            Cause::GoneAway => Some(Again::Afresh),
            Cause::Lost if used && silent => Some(Again::Afresh),
            Cause::Lost | Cause::Reset(_) | Cause::NoConnection | Cause::Unreadable => None,
        }
    }
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        chain(error).find_map(|error| http2(error).or_else(|| http(error))).unwrap_or(Self::Lost)
    }
}

fn http2(error: &(dyn Error + 'static)) -> Option<Cause> {
    let error: &h2::Error = error.downcast_ref()?;
    match error.reason() {
        _ if error.is_library() => Some(Cause::Unreadable),
        Some(_) if error.is_go_away() => Some(Cause::GoneAway),
        Some(reason) => Some(Cause::Reset(reason)),
        None => Some(Cause::Lost),
    }
}

fn http(error: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(Cause::NoConnection);
    }
    let error: &hyper::Error = error.downcast_ref()?;
    error.is_parse().then_some(Cause::Unreadable)
}

/// The difference between the protocols, if a failed TLS handshake shows it.
fn of_handshake(error: &(dyn Error + 'static)) -> Option<Mismatch> {
    // An io::Error's source is that of its inner error, so the inner error itself must be checked, too.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if let Some(inner) = inner {
        return of_handshake(inner);
    }
    match error.downcast_ref()? {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Mismatch::NoTls),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(Mismatch::Untrusted),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some(Mismatch::OtherName),
        _ => None,
    }
}

/// In TLS 1.3 the alert about a client certificate comes after the handshake, in place of an answer.
fn of_alert(alert: AlertDescription) -> Option<Mismatch> {
    match alert {
        AlertDescription::NoApplicationProtocol => Some(Mismatch::NoHttp2),
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => Some(Mismatch::WantsCertificate),
        _ => None,
    }
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// By gRPC's table of RST_STREAM codes, which Connect's clients use, too.
fn of_reason(reason: Reason) -> Code {
    match reason {
        Reason::NO_ERROR
        | Reason::PROTOCOL_ERROR
        | Reason::INTERNAL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::SETTINGS_TIMEOUT
        | Reason::STREAM_CLOSED
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::CONNECT_ERROR
        | Reason::HTTP_1_1_REQUIRED => Code::Internal,
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Canceled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: Cause) -> Failure {
        Failure { cause, message: String::new(), mismatch: None }
    }

    /// Guards promise 7: a call is repeated only if the server says that it has not begun it, or if a used connection ended
    /// without a byte.
    #[test]
    fn a_call_is_made_again_only_where_that_is_safe() {
        let cases = [
            (Cause::Reset(Reason::REFUSED_STREAM), false, false, Some(Again::Anyhow)),
            (Cause::Reset(Reason::CANCEL), true, true, None),
            (Cause::GoneAway, false, false, Some(Again::Afresh)),
            (Cause::Lost, true, true, Some(Again::Afresh)),
            (Cause::Lost, true, false, None),
            (Cause::Lost, false, true, None),
            (Cause::NoConnection, true, true, None),
            (Cause::Unreadable, true, true, None),
        ];
        for (cause, used, silent, again) in cases {
            assert_eq!(failure(cause).again(used, silent), again, "{cause:?} {used} {silent}");
        }
    }

    /// Guards promise 6: a missing server is `unavailable`. An answer that can't be read came from a server that is there.
    #[test]
    fn each_cause_has_its_code() {
        let cases = [
            (Cause::NoConnection, Code::Unavailable),
            (Cause::Lost, Code::Unavailable),
            (Cause::GoneAway, Code::Unavailable),
            (Cause::Unreadable, Code::Internal),
            (Cause::Reset(Reason::NO_ERROR), Code::Internal),
            (Cause::Reset(Reason::REFUSED_STREAM), Code::Unavailable),
            (Cause::Reset(Reason::CANCEL), Code::Canceled),
            (Cause::Reset(Reason::ENHANCE_YOUR_CALM), Code::ResourceExhausted),
            (Cause::Reset(Reason::INADEQUATE_SECURITY), Code::PermissionDenied),
            (Cause::Reset(Reason::from(99)), Code::Unknown),
        ];
        for (cause, code) in cases {
            assert_eq!(failure(cause).code(), code, "{cause:?}");
        }
        let mismatch = Failure { mismatch: Some(Mismatch::Tls), ..failure(Cause::Unreadable) };
        assert_eq!(mismatch.code(), Code::Unavailable);
    }
}
