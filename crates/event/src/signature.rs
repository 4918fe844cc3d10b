//! Signatures of calls, by the scheme [Standard Webhooks](https://www.standardwebhooks.com).
//!
//! The worker signs the body of each request. The receiving side calls [`verify`] with the headers and the body as it came,
//! byte for byte. A signature shows that the body is from a holder of the secret, and is not older than the tolerance. It does
//! not name the RPC: give each service a secret of its own.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The id of the event. It is the same in each attempt.
pub const ID: &str = "webhook-id";
/// When the request was made, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// One or more signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";
/// The tolerance that the scheme recommends.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// The scheme's limits.
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;
/// More signatures than a rotation needs are not looked at.
const SIGNATURES_MAX: usize = 16;

/// A secret that both sides share. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads `whsec_` and base64. The prefix may be missing.
impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let bytes =
            STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| SecretError::NotBase64)?;
        match bytes.len() {
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self(bytes)),
            bytes => Err(SecretError::Length { bytes }),
        }
    }
}

/// Reads the secrets of a file: one on each line. During a rotation there are several.
///
/// # Errors
///
/// A line is not a secret, or there is none. No error shows a part of a secret.
pub fn secrets(text: &str) -> Result<Vec<Secret>, SecretError> {
    let secrets: Vec<Secret> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if secrets.is_empty() { Err(SecretError::Missing) } else { Ok(secrets) }
}

/// The value of `webhook-signature`: one signature for each secret.
pub fn sign(secrets: &[Secret], id: &str, seconds: u64, body: &[u8]) -> String {
    let one = |secret: &Secret| {
        let signature = mac(secret, id, &seconds.to_string(), body).finalize().into_bytes();
        format!("{VERSION}{}", STANDARD.encode(signature))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Verifies a request: one of its signatures must be of one of the secrets, and its time within `tolerance` of `now`.
///
/// `header` returns a header of the request by its lower-case name: `|name| headers.get(name)?.to_str().ok()`. The signatures
/// are compared in constant time. A request may come again within the tolerance: the event's id tells that it is the same.
///
/// # Errors
///
/// The request must be refused, with the status 401.
pub fn verify<'h>(
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    secrets: &[Secret],
    now: SystemTime,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let get = |name: &'static str| header(name).ok_or(VerifyError::Missing { header: name });
    let (id, timestamp, signatures) = (get(ID)?, get(TIMESTAMP)?, get(SIGNATURE)?);
    let is_number = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = timestamp.parse().ok().filter(|_| is_number).ok_or(VerifyError::Timestamp)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now.abs_diff(Duration::from_secs(seconds)) > tolerance {
        return Err(VerifyError::Time);
    }
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|one| STANDARD.decode(one.strip_prefix(VERSION)?).ok())
        .collect();
    let is_of = |secret: &Secret| {
        given.iter().any(|given| mac(secret, id, timestamp, body).verify_slice(given).is_ok())
    };
    if secrets.iter().any(is_of) { Ok(()) } else { Err(VerifyError::Signature) }
}

fn mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

/// Why a text is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    Missing,
    NotBase64,
    Length { bytes: usize },
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no secret in it"),
            Self::NotBase64 => f.write_str("a secret is not whsec_ and base64"),
            Self::Length { bytes } => {
                write!(f, "a secret has {bytes} bytes, and not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")
            }
        }
    }
}

impl std::error::Error for SecretError {}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    Missing { header: &'static str },
    Timestamp,
    Time,
    Signature,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { header } => write!(f, "the request has no header {header}"),
            Self::Timestamp => write!(f, "{TIMESTAMP} is not a number of seconds"),
            Self::Time => write!(f, "{TIMESTAMP} is too far from this machine's time"),
            Self::Signature => f.write_str("no signature of the request is of a known secret"),
        }
    }
}

impl std::error::Error for VerifyError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the scheme's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verified(
        id: &str,
        at: &str,
        signature: &str,
        body: &[u8],
        secrets: &[Secret],
        now: u64,
    ) -> Result<(), VerifyError> {
        let headers = [(ID, id), (TIMESTAMP, at), (SIGNATURE, signature)];
        let header = |name: &str| {
            headers.iter().find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| *value)
        };
        verify(header, body, secrets, SystemTime::UNIX_EPOCH + Duration::from_secs(now), TOLERANCE)
    }

    /// Guards SECURITY.md: a signature is that of the scheme, for each secret of a rotation.
    #[test]
    fn signatures_are_those_of_the_scheme() {
        let secret: Secret = SECRET.parse().unwrap();
        assert_eq!(sign(std::slice::from_ref(&secret), MESSAGE, AT, BODY), SIGNED);
        let other: Secret = format!("whsec_{}", STANDARD.encode([7; 32])).parse().unwrap();
        let both = sign(&[other.clone(), secret.clone()], MESSAGE, AT, BODY);
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {SIGNED}")), "{both}");
        for secrets in [vec![secret.clone()], vec![other.clone()], vec![other, secret]] {
            assert_eq!(verified(MESSAGE, &AT.to_string(), &both, BODY, &secrets, AT), Ok(()));
        }
    }

    /// Guards SECURITY.md: nothing but the signed request is accepted, and not for longer than the tolerance.
    #[test]
    fn other_requests_are_refused() {
        let secret = [SECRET.parse::<Secret>().unwrap()];
        let other = [STANDARD.encode([7; 32]).parse::<Secret>().unwrap()];
        let at = AT.to_string();
        let wrong = Err(VerifyError::Signature);
        let cases = [
            (MESSAGE, at.as_str(), SIGNED, BODY, &secret, AT + 300, Ok(())),
            (MESSAGE, &at, SIGNED, BODY, &secret, AT - 300, Ok(())),
            (MESSAGE, &at, SIGNED, BODY, &secret, AT + 301, Err(VerifyError::Time)),
            (MESSAGE, &at, SIGNED, BODY, &secret, AT - 301, Err(VerifyError::Time)),
            (MESSAGE, &at, SIGNED, BODY, &other, AT, wrong),
            (MESSAGE, &at, SIGNED, b"{}", &secret, AT, wrong),
            ("msg_other", &at, SIGNED, BODY, &secret, AT, wrong),
            (MESSAGE, "1614265331", SIGNED, BODY, &secret, AT, wrong),
            (MESSAGE, "+1614265330", SIGNED, BODY, &secret, AT, Err(VerifyError::Timestamp)),
            (MESSAGE, "soon", SIGNED, BODY, &secret, AT, Err(VerifyError::Timestamp)),
            (MESSAGE, &at, "v1a,AAAA v1,AAAA v1,*", BODY, &secret, AT, wrong),
            (MESSAGE, &at, &SIGNED[3..], BODY, &secret, AT, wrong),
            (MESSAGE, &at, "", BODY, &secret, AT, Err(VerifyError::Missing { header: SIGNATURE })),
            ("", &at, SIGNED, BODY, &secret, AT, Err(VerifyError::Missing { header: ID })),
        ];
        for (id, at, signature, body, secrets, now, expected) in cases {
            assert_eq!(
                verified(id, at, signature, body, secrets, now),
                expected,
                "{id} {at} {signature} {now}"
            );
        }
    }

    /// Guards SECURITY.md: a secret of the wrong form is refused, and none is shown.
    #[test]
    fn secrets_are_read_and_not_shown() {
        assert_eq!(secrets(&format!("{SECRET}\n{}\n", &SECRET[6..])).map(|found| found.len()), Ok(2));
        assert_eq!(secrets(" \n"), Err(SecretError::Missing));
        assert_eq!("whsec_?".parse::<Secret>(), Err(SecretError::NotBase64));
        assert_eq!("whsec_AAAA".parse::<Secret>(), Err(SecretError::Length { bytes: 3 }));
        let shown = format!("{:?}", secrets(SECRET));
        assert!(!shown.contains("MfKQ") && !shown.contains("49"), "{shown}");
    }
}
